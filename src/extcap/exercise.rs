//! Does all that arguments can ask for without touching the host, for fuzzing.

use std::ffi::OsString;

use super::request::{Call, ExtcapCall, Setting};
use super::{capture, config, expression, is_call, remote};
use crate::cli;

/// Parses arguments, the program's name first. The settings that were understood are understood in the same way when
/// they are written again, and every call has an answer.
pub fn exercise(words: Vec<OsString>) {
    is_call(&words);
    let Ok(request) = ExtcapCall::parse(words) else {
        return;
    };
    let again = request.settings.iter().map(Setting::word);
    let again = std::iter::once("dwdump".into()).chain(again).collect();
    let again = ExtcapCall::parse(again).expect("no word is unknown");
    let settings = |call: &ExtcapCall| -> Vec<_> {
        let settings = call.settings.iter();
        settings
            .map(|setting| (setting.row.name, setting.value.clone()))
            .collect()
    };
    assert_eq!(settings(&again), settings(&request));
    match request.call {
        Call::Config => assert!(!config::options(request.interface).is_empty()),
        Call::CheckFilter => {
            if let Err(error) = expression::check_with(&request.filter, &crate::filter::FixedNames)
            {
                assert!(!error.contains('\n'), "{error}");
            }
        }
        Call::Capture => {
            let _ = cli::parse(capture::command_line(&request));
            remote::exercise(&request);
        }
        Call::Interfaces | Call::LinkTypes | Call::Reload | Call::Nothing => {}
    }
}
