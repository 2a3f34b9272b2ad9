//! The broker's program: reads the configuration, puts the parts together, and ends them.
//!
//! It is the only place that knows all parts; none of them knows it.

#![forbid(unsafe_code)]

mod check_data;
mod command_line;
mod config;
mod log;
mod passwd;
mod run;
mod steward;
mod sys_topics;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::command_line::{Command, HELP};
use crate::config::Config;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The exit code for a command line or a configuration that cannot be followed.
const NONSENSE: u8 = 2;

fn main() -> ExitCode {
    let command = Command::parse(std::env::args_os().skip(1), std::env::vars_os().collect());
    match command {
        Ok(Command::Run(sources)) => match Config::load(&sources) {
            Ok(config) => run::run(&config),
            Err(errors) => refuse(&errors),
        },
        Ok(Command::CheckConfig(sources)) => match Config::load(&sources) {
            Ok(config) => match run::check_files(&config) {
                Ok(_) => print("configuration is valid\n"),
                Err(error) => refuse(&[error]),
            },
            Err(errors) => refuse(&errors),
        },
        Ok(Command::SetPassword { file, user }) => match passwd::set_password(&file, &user) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("nexum: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(Command::CheckData { directory }) => match check_data::check_data(&directory) {
            Ok(findings) => match print(&findings.text) {
                ExitCode::SUCCESS if !findings.is_whole => ExitCode::FAILURE,
                code => code,
            },
            Err(error) => {
                eprintln!("nexum: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(Command::Help) => print(HELP),
        Ok(Command::Version) => print(&format!("nexum {VERSION}\n")),
        Err(error) => {
            eprintln!("nexum: {error}; nexum --help lists what there is");
            ExitCode::from(NONSENSE)
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever was to read it is gone.
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(errors: &[impl Display]) -> ExitCode {
    for error in errors {
        eprintln!("{error}");
    }
    ExitCode::from(NONSENSE)
}
