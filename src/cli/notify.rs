//! `spop-bridge notify`: one NOTIFY to any agent, as grpcurl is for gRPC.

use std::time::Duration;

use clap::Parser;

use super::engine::{Engine, EngineError};
use super::exit::{Exit, Failure};
use super::value::{FORMS, Value, parse_arg, show, show_action};
use crate::config::parse_duration;
use crate::spop::{Action, Actions, NotifyEncoder, TypedData};

/// Send one NOTIFY to any SPOP agent and print the actions it answers with.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The agent: host:port or unix:/path.
    #[arg(long, value_name = "ADDRESS")]
    agent: String,
    /// The message's name. Repeat it for more messages in one NOTIFY; args belong to the message before them.
    #[arg(long, value_name = "NAME", required = true)]
    message: Vec<String>,
    /// An arg of the message: name=type:value, or name=text. The name may be empty.
    #[arg(long, value_name = "NAME=VALUE", long_help = format!("An arg of the message: name=value. The name may be empty. Values: {FORMS}; anything else is a string."))]
    arg: Vec<String>,
    /// The engine id to say hello with.
    #[arg(long, default_value = "spop-bridge-notify")]
    engine_id: String,
    /// How long connecting, hello and the answer may take together.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print the actions as one JSON object.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  Ask as HAProxy would for GET /admin:
    spop-bridge notify --agent 127.0.0.1:9000 --message check-request --arg ip=ipv4:192.0.2.1 --arg path=/admin

  Two messages in one NOTIFY, over a Unix socket, for a script:
    spop-bridge notify --agent unix:/run/spop-bridge/spop.sock --message check-ip --arg ip=ipv6:2001:db8::1 \\
        --message check-body --arg body=bin:00ff --json";

/// The order of `--message` and `--arg` matters, and only the matches know it.
pub(super) fn run(args: &Args, matches: &clap::ArgMatches) -> Result<(), Failure> {
    let notify = encode(args, matches).map_err(|message| Failure::new(Exit::Usage, message))?;
    let runtime = super::control_runtime()?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(args.timeout, async {
            let mut engine = Engine::connect(&args.agent, &args.engine_id).await?;
            let actions = engine.notify(&notify).await?;
            // The answer is here: how the agent takes the good-bye changes nothing.
            let _ = engine.disconnect().await;
            Ok::<_, EngineError>(actions)
        })
        .await
    });
    match answer {
        Ok(Ok(actions)) => {
            print(&actions, args.json);
            Ok(())
        }
        Ok(Err(error)) => Err(Failure::new(Exit::Refused, error)),
        Err(_) => Err(Failure::new(Exit::NoAnswer, format!("no answer from {} within {:?}", args.agent, args.timeout))),
    }
}

fn encode(args: &Args, matches: &clap::ArgMatches) -> Result<NotifyEncoder, String> {
    let indices = |id| matches.indices_of(id).into_iter().flatten();
    let starts: Vec<usize> = indices("message").collect();
    let mut messages: Vec<(&String, Vec<(&str, Value)>)> = args.message.iter().map(|name| (name, Vec::new())).collect();
    for (arg, index) in args.arg.iter().zip(indices("arg")) {
        let owner = starts.iter().filter(|start| **start < index).count();
        let message = owner.checked_sub(1).and_then(|owner| messages.get_mut(owner));
        let (_, list) = message.ok_or_else(|| format!("--arg {arg} stands before the first --message"))?;
        list.push(parse_arg(arg)?);
        if list.len() > 255 {
            return Err("a message has at most 255 args".to_owned());
        }
    }
    Ok(messages.iter().fold(NotifyEncoder::new(1, 1), |notify, (name, list)| {
        let typed: Vec<(&str, TypedData<'_>)> = list.iter().map(|(name, value)| (*name, value.typed_data())).collect();
        notify.message(name.as_str(), &typed)
    }))
}

fn print(actions: &Actions, json: bool) {
    if !json {
        for action in actions {
            say!("{}", show_action(&action));
        }
        return;
    }
    let object = |action: Action<'_>| {
        let (kind, scope, name, value) = match action {
            Action::SetVar { scope, name, value } => ("set-var", scope, name, Some(show(value))),
            Action::UnsetVar { scope, name } => ("unset-var", scope, name, None),
        };
        serde_json::json!({"action": kind, "scope": scope.as_str(), "name": name.escape_ascii().to_string(), "value": value})
    };
    let actions: Vec<_> = actions.iter().map(object).collect();
    super::output::say_json(serde_json::json!({ "actions": actions }));
}
