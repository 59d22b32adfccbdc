//! docs/contract.md is made from the contract's `.proto` file and its comments.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto};

use super::repository;

const INTRODUCTION: &str = "# Contract

The messages and methods of [`decision.proto`](../proto/spopbridge/v1/decision.proto), made from the file and its comments. What may change in it, and how to
generate code from it, is in [proto/README.md](../proto/README.md).
";

#[test]
fn the_page_is_what_the_proto_file_says() {
    let file = repository().join("docs/contract.md");
    let page = page();
    if std::env::var_os("RENEW_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "renew docs/contract.md: RENEW_DOCS=1 cargo test --test it docs::contract");
}

fn page() -> String {
    let set = protox::compile(["spopbridge/v1/decision.proto"], [repository().join("proto")]).expect("the contract compiles");
    let file = set.file.iter().find(|file| file.package() == "spopbridge.v1").expect("the contract");
    let comments = Comments::of(file);
    let mut page = format!("{INTRODUCTION}\n{}\n", comments.at(&[SYNTAX]));
    for (position, service) in (0..).zip(&file.service) {
        add_service(&mut page, service, &comments, position);
    }
    for (position, message) in (0..).zip(&file.message_type) {
        add_message(&mut page, message, &comments, position);
    }
    for (position, choices) in (0..).zip(&file.enum_type) {
        add_enum(&mut page, choices, &comments, position);
    }
    page
}

fn add_service(page: &mut String, service: &ServiceDescriptorProto, comments: &Comments, position: i32) {
    let _ = write!(page, "\n## {}\n\n{}\n", service.name(), comments.at(&[SERVICE, position]));
    for (number, method) in (0..).zip(&service.method) {
        let stream = |streams: bool| if streams { "stream " } else { "" };
        let (asked, answered) = (last(method.input_type()), last(method.output_type()));
        let signature = format!(
            "rpc {}({}{asked}) returns ({}{answered})",
            method.name(),
            stream(method.client_streaming()),
            stream(method.server_streaming())
        );
        let comment = comments.at(&[SERVICE, position, 2, number]);
        let _ = write!(page, "\n### {}\n\n```proto\n{signature}\n```\n\n{comment}\n", method.name());
    }
}

fn add_message(page: &mut String, message: &DescriptorProto, comments: &Comments, position: i32) {
    let _ = write!(page, "\n## {}\n\n{}\n\n", message.name(), comments.at(&[MESSAGE, position]));
    for (number, choice) in (0..).zip(&message.oneof_decl) {
        let comment = comments.at(&[MESSAGE, position, 8, number]);
        let _ = write!(page, "At most one field of `{}` is set. {comment}\n\n", choice.name());
    }
    page.push_str("| field | no. | type | meaning |\n|---|---|---|---|\n");
    for (number, field) in (0..).zip(&message.field) {
        let mut comment = comments.at(&[MESSAGE, position, 2, number]).replace("\n\n", "<br>");
        if let Some(choice) = field.oneof_index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?)) {
            comment = format!("One of `{}`. {comment}", choice.name());
        }
        let _ = writeln!(page, "| `{}` | {} | {} | {comment} |", field.name(), field.number(), kind(field));
    }
    let kept: Vec<_> = message.reserved_range.iter().map(|range| format!("{} to {}", range.start(), range.end() - 1)).collect();
    if !kept.is_empty() {
        let _ = write!(page, "\nReserved: {}.\n", kept.join(", "));
    }
}

fn add_enum(page: &mut String, choices: &EnumDescriptorProto, comments: &Comments, position: i32) {
    let _ = write!(page, "\n## {}\n\n{}\n\n", choices.name(), comments.at(&[ENUM, position]));
    page.push_str("| value | no. | meaning |\n|---|---|---|\n");
    for (number, value) in (0..).zip(&choices.value) {
        let _ = writeln!(page, "| `{}` | {} | {} |", value.name(), value.number(), comments.at(&[ENUM, position, 2, number]));
    }
}

fn kind(field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum if field.type_name().starts_with(".spopbridge.") => {
            let name = last(field.type_name());
            format!("[{name}](#{})", name.to_lowercase())
        }
        Type::Message | Type::Enum => format!("`{}`", field.type_name().trim_start_matches('.')),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    if field.label() == Label::Repeated { format!("list of {name}") } else { name }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Numbers of fields in `FileDescriptorProto`, which paths to comments begin with.
const MESSAGE: i32 = 4;
const ENUM: i32 = 5;
const SERVICE: i32 = 6;
const SYNTAX: i32 = 12;

/// The comment before each thing, by the path to it.
struct Comments<'a>(HashMap<&'a [i32], &'a str>);

impl<'a> Comments<'a> {
    fn of(file: &'a FileDescriptorProto) -> Self {
        let places = file.source_code_info.iter().flat_map(|info| &info.location);
        Comments(places.map(|place| (&place.path[..], place.leading_comments())).collect())
    }

    /// A line for each paragraph.
    fn at(&self, path: &[i32]) -> String {
        let text = self.0.get(path).copied().unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let paragraphs = lines.split(|line| line.is_empty()).map(|lines| lines.join(" ").replace('|', "\\|"));
        paragraphs.filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}
