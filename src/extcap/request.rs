//! Parses the arguments of the extcap protocol.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::interface::ExtcapInterface;
use super::options::{self, Entry, OptionTarget, Row};
use crate::record::Escaped;

/// A call by Wireshark or tshark.
#[derive(Debug)]
pub struct ExtcapCall {
    /// The kind of call.
    pub call: Call,
    /// The interface.
    pub interface: ExtcapInterface,
    /// The capture filter; an empty one keeps all drops.
    pub filter: String,
    /// The FIFO to write to; `-` is standard output.
    pub fifo: PathBuf,
    /// The pipe from Wireshark's toolbar.
    pub control_in: Option<PathBuf>,
    /// The pipe to Wireshark's window.
    pub control_out: Option<PathBuf>,
    /// The option whose values are listed.
    pub reload: Option<&'static Row>,
    /// The options that differ from their defaults.
    pub settings: Vec<Setting>,
}

/// An option of the dialog with its value; a flag has none.
#[derive(Debug)]
pub struct Setting {
    /// The option.
    pub row: &'static Row,
    /// The value.
    pub value: OsString,
}

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `--capture`
    Capture,
    /// `--extcap-interfaces`
    Interfaces,
    /// `--extcap-dlts`
    LinkTypes,
    /// `--extcap-config`
    Config,
    /// `--extcap-reload-option`
    Reload,
    /// `--extcap-capture-filter` alone
    CheckFilter,
    /// A call of a later version of the protocol
    Nothing,
}

/// The error for a call that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestError(String);

impl ExtcapCall {
    /// Parses arguments, the program's name first. Unknown arguments `--extcap-…` are ignored; other
    /// unknown arguments are an error of a capture and ignored otherwise.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self, RequestError> {
        let mut words = Words::default();
        let mut request = Self {
            call: Call::Nothing,
            interface: ExtcapInterface::Drops,
            filter: String::new(),
            fifo: PathBuf::new(),
            control_in: None,
            control_out: None,
            reload: None,
            settings: Vec::new(),
        };
        let mut parser = Parser::from_iter(arguments);
        loop {
            match parser.next() {
                Ok(Some(Arg::Long(name))) => {
                    let name = name.to_owned();
                    request.take(&name, &mut parser, &mut words);
                }
                Ok(Some(Arg::Value(value))) => words.unknown(&value),
                Ok(Some(Arg::Short(letter))) => words.unknown(OsStr::new(&format!("-{letter}"))),
                Ok(None) => break,
                Err(error) => words.wrong(error.to_string()),
            }
        }
        request.call = words.call();
        match words.error.filter(|_| request.call == Call::Capture) {
            Some(error) => Err(error),
            None => Ok(request),
        }
    }

    fn take(&mut self, name: &str, parser: &mut Parser, words: &mut Words) {
        words.is_behind_unknown = false;
        match name {
            "capture" => words.capture = true,
            "extcap-interfaces" => words.interfaces = true,
            "extcap-dlts" => words.link_types = true,
            "extcap-config" => words.config = true,
            "extcap-version" => drop(parser.optional_value()),
            "extcap-interface" => {
                let name = words.text(name, parser);
                match ExtcapInterface::of_name(&name) {
                    Some(interface) => self.interface = interface,
                    None => words.wrong(format!("there is no interface {}", shown(&name))),
                }
            }
            "extcap-capture-filter" => {
                words.filter = true;
                words.text(name, parser).trim().clone_into(&mut self.filter);
            }
            "extcap-reload-option" => {
                words.reload = true;
                let name = words.text(name, parser);
                self.reload = options::row(name.trim_start_matches('-'));
            }
            "fifo" => self.fifo = words.value(name, parser).into(),
            "extcap-control-in" => self.control_in = Some(words.value(name, parser).into()),
            "extcap-control-out" => self.control_out = Some(words.value(name, parser).into()),
            _ => match options::row(name) {
                Some(row) if row.entry == Entry::Flag => {
                    // `--flag=false` is what a `boolean` would be.
                    let value = parser.optional_value();
                    if value.is_none_or(|value| value != "false") {
                        self.set(row, OsString::new());
                    }
                }
                Some(row) => {
                    let value = words.value(name, parser);
                    if !value.is_empty() && Some(value.as_os_str()) != row.default().map(OsStr::new)
                    {
                        self.set(row, value);
                    }
                }
                None => {
                    let _ = parser.optional_value();
                    words.is_behind_unknown = true;
                    if !name.starts_with("extcap-") {
                        words.unknown_option(name);
                    }
                }
            },
        }
    }

    /// Sets an option. The last of several values counts.
    fn set(&mut self, row: &'static Row, value: OsString) {
        self.settings.retain(|setting| setting.row.name != row.name);
        self.settings.push(Setting { row, value });
    }

    /// Returns the value of an option that differs from its default.
    pub fn setting(&self, name: &str) -> Option<&OsStr> {
        let mut settings = self.settings.iter();
        let setting = settings.find(|setting| setting.row.name == name)?;
        Some(&setting.value)
    }

    /// Returns the filter of the filter box, joined with that of the options.
    pub fn whole_filter(&self) -> String {
        let reason = self.setting(options::REASON).map(OsStr::to_string_lossy);
        match (reason, self.filter.as_str()) {
            (None, filter) => filter.to_owned(),
            (Some(reason), "") => format!("reason {reason}"),
            (Some(reason), filter) => format!("reason {reason} and ({filter})"),
        }
    }

    /// Returns the settings that are options of the command line, as arguments.
    pub fn command_line_words(&self) -> Vec<OsString> {
        let settings = self.settings.iter();
        let own = settings.filter(|setting| setting.row.target == OptionTarget::CommandLine);
        own.map(Setting::word).collect()
    }
}

impl Setting {
    /// Returns the option as one argument, `--name=value`.
    pub fn word(&self) -> OsString {
        let mut word = OsString::from(format!("--{}", self.row.name));
        if self.row.entry != Entry::Flag {
            word.push("=");
            word.push(&self.value);
        }
        word
    }
}

/// The arguments that determine the kind of call, and the first error.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // The words of a command line; Call has none.
struct Words {
    capture: bool,
    interfaces: bool,
    link_types: bool,
    config: bool,
    reload: bool,
    filter: bool,
    /// The argument before was an unknown option: the next one may be its value.
    is_behind_unknown: bool,
    error: Option<RequestError>,
}

impl Words {
    fn call(&self) -> Call {
        match self {
            Self { capture: true, .. } => Call::Capture,
            Self {
                interfaces: true, ..
            } => Call::Interfaces,
            Self { reload: true, .. } => Call::Reload,
            Self { config: true, .. } => Call::Config,
            Self {
                link_types: true, ..
            } => Call::LinkTypes,
            Self { filter: true, .. } => Call::CheckFilter,
            _ => Call::Nothing,
        }
    }

    fn wrong(&mut self, message: String) {
        self.error.get_or_insert(RequestError(message));
    }

    fn unknown_option(&mut self, name: &str) {
        self.wrong(format!("unknown option --{} beside --capture", shown(name)));
    }

    fn unknown(&mut self, word: &OsStr) {
        if !std::mem::take(&mut self.is_behind_unknown) {
            let word = Escaped(word.as_encoded_bytes());
            self.wrong(format!("unexpected word {word} beside --capture"));
        }
    }

    fn value(&mut self, name: &str, parser: &mut Parser) -> OsString {
        parser.value().unwrap_or_else(|_| {
            self.wrong(format!("--{name} needs a value"));
            OsString::new()
        })
    }

    fn text(&mut self, name: &str, parser: &mut Parser) -> String {
        let value = self.value(name, parser);
        value.into_string().unwrap_or_else(|value| {
            self.wrong(format!("the value of --{name} is not UTF-8"));
            value.to_string_lossy().into_owned()
        })
    }
}

fn shown(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<ExtcapCall, RequestError> {
        let words = ["dwdump"].iter().chain(line);
        ExtcapCall::parse(words.map(OsString::from).collect())
    }

    #[test]
    fn each_call_is_told_from_the_others() {
        #[track_caller]
        fn check(line: &str, call: Call) {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(parse(&words).unwrap().call, call, "{line}");
        }
        check("--extcap-interfaces --extcap-version=4.0", Call::Interfaces);
        check("--extcap-version=4.0 --extcap-interfaces", Call::Interfaces);
        check("--extcap-dlts --extcap-interface drops", Call::LinkTypes);
        check("--extcap-interface=drops --extcap-config", Call::Config);
        check(
            "--extcap-config --extcap-interface drops --extcap-reload-option interface",
            Call::Reload,
        );
        check(
            "--extcap-capture-filter tcp --extcap-interface drops",
            Call::CheckFilter,
        );
        check(
            "--capture --extcap-interface drops --fifo f --extcap-capture-filter tcp",
            Call::Capture,
        );
        check("--extcap-cleanup-postkill", Call::Nothing);
        check("--extcap-config --nonsense 5 -x", Call::Config);
    }

    #[test]
    fn options_come_in_both_forms_and_any_order() {
        let forms: [&[&str]; 2] = [
            &[
                "--trunc=96",
                "--capture",
                "--fifo=f",
                "--all",
                "--extcap-capture-filter= udp ",
                "--origin=sw",
            ],
            &[
                "--extcap-later",
                "7",
                "--extcap-capture-filter",
                "udp",
                "--fifo",
                "f",
                "--trunc",
                "96",
                "--all",
                "--origin",
                "sw",
                "--capture",
                "--extcap-interface",
                "drops",
            ],
        ];
        for form in forms {
            let request = parse(form).unwrap();
            assert_eq!(request.filter, "udp");
            assert_eq!(request.fifo, PathBuf::from("f"));
            let mut words = request.command_line_words();
            words.sort();
            assert_eq!(words, ["--all", "--origin=sw", "--trunc=96"]);
        }
    }

    #[test]
    fn defaults_are_left_out() {
        let request = parse(&[
            "--capture",
            "--trunc",
            "0",
            "--comments",
            "facts",
            "--origin",
            "",
            "--limit=",
        ]);
        assert!(request.unwrap().settings.is_empty());
        // As tshark's preferences say it of a selector.
        let request = parse(&[
            "--capture",
            "--comments",
            "",
            "--trunc",
            "",
            "--remote-privilege=",
        ]);
        assert!(request.unwrap().settings.is_empty());
    }

    #[test]
    fn a_reason_is_a_term_of_the_filter() {
        let with = |filter| {
            parse(&[
                "--capture",
                "--reason=NO_SOCKET",
                "--extcap-capture-filter",
                filter,
            ])
        };
        assert_eq!(with("").unwrap().whole_filter(), "reason NO_SOCKET");
        let both = with("tcp or udp").unwrap().whole_filter();
        assert_eq!(both, "reason NO_SOCKET and (tcp or udp)");
    }

    #[test]
    fn a_capture_wants_words_that_make_sense() {
        #[track_caller]
        fn check(line: &[&str], message: &str) {
            let line = [&["--capture"], line].concat();
            assert_eq!(parse(&line).unwrap_err().to_string(), message);
        }
        check(
            &["--frobnicate"],
            "unknown option --frobnicate beside --capture",
        );
        check(
            &["--extcap-interface", "eth0"],
            "there is no interface eth0",
        );
        check(&["tcp"], "unexpected word tcp beside --capture");
        check(&["--fifo"], "--fifo needs a value");
        assert!(parse(&["--capture", "--extcap-later", "7"]).is_ok());
    }
}
