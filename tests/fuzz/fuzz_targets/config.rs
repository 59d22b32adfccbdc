//! Any text as a configuration file.
//!
//! Nothing panics; whatever is refused says where, what was found and what was expected; what is accepted is accepted again, and
//! means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spop_bridge::config::{Config, ConfigError};

fuzz_target!(|text: &str| {
    match read(text) {
        Ok((config, warnings)) => {
            assert!(!config.listeners.is_empty() && !config.backends.is_empty() && !config.routes.is_empty());
            for route in &config.routes {
                assert!(route.backend < config.backends.len() && route.timeout > config.ack_margin);
                assert!(route.listeners.iter().all(|listener| *listener < config.listeners.len()));
            }
            let (again, warnings_again) = read(text).expect("accepted before");
            assert_eq!(config, again);
            assert_eq!(warnings, warnings_again);
        }
        Err(ConfigError::Invalid { problems, .. }) => {
            assert!(!problems.is_empty() && problems.is_sorted());
            for problem in &problems {
                assert!(
                    !problem.path.to_string().is_empty() && !problem.found.is_empty() && !problem.expected.is_empty(),
                    "{problem:?}"
                );
                assert_eq!(problem.to_string().lines().count(), 1, "{problem:?}");
            }
            assert_eq!(
                Err(problems),
                read(text).map(|_| ()).map_err(|error| error.problems().to_vec()),
                "refused again, for the same"
            );
        }
        Err(ConfigError::Syntax { message, .. }) => assert!(!message.is_empty()),
    }
});

fn read(text: &str) -> Result<(Config, Vec<spop_bridge::config::Warning>), ConfigError> {
    Config::from_yaml(text, "fuzz.yaml", &|name| (name == "SET").then(|| "value".to_owned()))
}
