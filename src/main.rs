//! The program: parses the arguments, runs the command, prints an error, and returns the exit status.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use dwdump::run::Exit;
use dwdump::untrusted::EscapedMessage;
use dwdump::{cli, extcap, run};

fn main() -> ExitCode {
    run::distrust_environment();
    let arguments: Vec<_> = std::env::args_os().collect();
    if extcap::is_call(&arguments) {
        return ExitCode::from(u8::from(extcap::answer(arguments)));
    }
    let exit = match cli::parse(arguments) {
        Ok(command) => match run::run(&command) {
            Ok(exit) => exit,
            Err(failure) => fail(&failure, failure.exit),
        },
        Err(error) => {
            let exit = fail(&error, Exit::Usage);
            if let Some(hint) = &error.hint {
                let _ = writeln!(run::standard_error(), "hint: {}", EscapedMessage(hint));
            }
            exit
        }
    };
    ExitCode::from(u8::from(exit))
}

/// Prints an error. A failure to print is ignored, because standard error may be closed.
fn fail(error: &dyn Display, exit: Exit) -> Exit {
    let _ = writeln!(run::standard_error(), "dwdump: {}", EscapedMessage(error));
    exit
}
