//! The payload of the conformance suite: prints as JSON what can be seen and done from inside a container.
//!
//! `probe see [FACT...]` prints facts about the process and its surroundings, `probe VERB ...` tries something and
//! prints what came of it. It is static, so it runs in any root file system.

mod act;
mod see;
mod sys;

use std::process::ExitCode;

use serde_json::Value;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let result = match args.first().map(String::as_str) {
        Some("see") => see::facts(&rest),
        Some(verb) => act::act(verb, &rest),
        None => Err("probe: needs a verb".to_string()),
    };
    match result {
        Ok(Value::Null) => ExitCode::SUCCESS,
        Ok(value) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("probe: {message}");
            ExitCode::from(99)
        }
    }
}
