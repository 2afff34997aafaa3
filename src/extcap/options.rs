//! The table of the options in Wireshark's dialog. A row that is an option of the command line takes its
//! explanation and its values from there.

use super::interface::ExtcapInterface;
use crate::cli;

/// An option of the dialog.
#[derive(Debug)]
pub struct Row {
    /// The name of the argument, without dashes; also the name of tshark's preference, as in
    /// `-o extcap.drops.trunc:96`.
    pub name: &'static str,
    /// The label in the dialog.
    pub display: &'static str,
    /// The tab of the dialog.
    pub tab: &'static str,
    /// The kind of value.
    pub entry: Entry,
    /// The use of the value.
    pub target: OptionTarget,
}

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// On or off; off by default.
    Flag,
    /// A number: its range and its default.
    Number(&'static str, &'static str),
    /// Any text: an example.
    Text(&'static str),
    /// The path of a file.
    File,
    /// One of these values, each with its label. The first is the default.
    Choice(&'static [(&'static str, &'static str)]),
    /// One of the values of the command line's option: the default.
    ChoiceOfCommandLine(&'static str),
    /// A network interface, or any; a reload lists those of the host.
    NetworkInterface,
    /// A drop reason, or any; a reload lists those of the host's kernel.
    Reason,
}

/// The use of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionTarget {
    /// The option of the command line with the same long name.
    CommandLine,
    /// A term of the filter: its explanation.
    Filter(&'static str),
    /// A part of how the other host is reached: its explanation.
    Connection(&'static str),
}

const CONNECTION: &str = "Host";
const DROPS: &str = "Drops";
const PACKETS: &str = "Packets";
const KERNEL: &str = "Kernel";

/// All options, tab by tab.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    Row { name: HOST, display: "Host", tab: CONNECTION, entry: Entry::Text("server.example"),
          target: OptionTarget::Connection("A name or an address, or a Host of ~/.ssh/config") },
    Row { name: USER, display: "User", tab: CONNECTION, entry: Entry::Text("as in ~/.ssh/config"),
          target: OptionTarget::Connection("The user on that host") },
    Row { name: PORT, display: "Port (0: default)", tab: CONNECTION, entry: Entry::Number("0,65535", "0"),
          target: OptionTarget::Connection("The port of its SSH server; 0 means the one in ~/.ssh/config, or 22") },
    Row { name: KEY, display: "Key file", tab: CONNECTION, entry: Entry::File,
          target: OptionTarget::Connection("A private key; without one, those of the agent and of ~/.ssh are tried") },
    Row { name: PRIVILEGE, display: "Become root with", tab: CONNECTION, entry: Entry::Choice(&[
              ("none", "nothing: the user may capture"),
              ("sudo", "sudo -n"), ("doas", "doas -n")]),
          target: OptionTarget::Connection("How dwdump becomes root on that host, without a password; nothing where the user is root, or dwdump has its capabilities") },
    Row { name: PROGRAM, display: "Path of dwdump", tab: CONNECTION, entry: Entry::Text("dwdump"),
          target: OptionTarget::Connection("The program on that host, where it is not in the PATH") },

    Row { name: "interface", display: "Input interface", tab: DROPS, entry: Entry::NetworkInterface,
          target: OptionTarget::CommandLine },
    Row { name: REASON, display: "Drop reason", tab: DROPS, entry: Entry::Reason,
          target: OptionTarget::Filter("Only drops for this reason") },
    Row { name: "origin", display: "Dropped by", tab: DROPS, entry: Entry::Choice(&[
              ("", "the kernel and devices"), ("sw", "the kernel"), ("hw", "devices")]),
          target: OptionTarget::CommandLine },
    Row { name: "all", display: "Drops that are not packets, too", tab: DROPS, entry: Entry::Flag,
          target: OptionTarget::CommandLine },

    Row { name: "trunc", display: "Bytes of each packet (0: all)", tab: PACKETS, entry: Entry::Number("0,65527", "0"),
          target: OptionTarget::CommandLine },
    Row { name: "comments", display: "Explanations", tab: PACKETS, entry: Entry::ChoiceOfCommandLine("facts"),
          target: OptionTarget::CommandLine },
    Row { name: "source-lines", display: "Source lines", tab: PACKETS, entry: Entry::Flag,
          target: OptionTarget::CommandLine },
    Row { name: "stack", display: "Frames of the call stack", tab: PACKETS, entry: Entry::Text("24; up to 64"),
          target: OptionTarget::CommandLine },
    Row { name: "vmlinux", display: "Debug file of the kernel", tab: PACKETS, entry: Entry::File,
          target: OptionTarget::CommandLine },
    Row { name: "modules", display: "Debug files of modules", tab: PACKETS, entry: Entry::Text("/usr/lib/debug/lib/modules"),
          target: OptionTarget::CommandLine },

    Row { name: "source", display: "Source of drops", tab: KERNEL, entry: Entry::ChoiceOfCommandLine("auto"),
          target: OptionTarget::CommandLine },
    Row { name: "kernel-filter", display: "Filter in the kernel, too", tab: KERNEL, entry: Entry::Flag,
          target: OptionTarget::CommandLine },
    Row { name: "passive", display: "Only listen to monitoring that is on", tab: KERNEL, entry: Entry::Flag,
          target: OptionTarget::CommandLine },
    Row { name: "limit", display: "Packets queued on each CPU", tab: KERNEL, entry: Entry::Text("up to 100000"),
          target: OptionTarget::CommandLine },
    Row { name: "bufsize", display: "Socket buffer", tab: KERNEL, entry: Entry::Text("up to 64M"),
          target: OptionTarget::CommandLine },
];

/// The option for the other host.
pub const HOST: &str = "remote-host";
/// The option for the user on the other host.
pub const USER: &str = "remote-user";
/// The option for the port of its SSH server.
pub const PORT: &str = "remote-port";
/// The option for a private key.
pub const KEY: &str = "ssh-key";
/// The option for the command that gives privileges.
pub const PRIVILEGE: &str = "remote-privilege";
/// The option for the path of dwdump on the other host.
pub const PROGRAM: &str = "remote-program";
/// The option for the drop reason.
pub const REASON: &str = "reason";

/// Returns the rows of an interface's dialog.
pub fn rows(interface: ExtcapInterface) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(move |row| {
        interface == ExtcapInterface::DropsSsh || !matches!(row.target, OptionTarget::Connection(_))
    })
}

/// Returns the row with this name.
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

impl Row {
    /// Returns the default; `None` for a flag, which has no value.
    pub fn default(&self) -> Option<&'static str> {
        match self.entry {
            Entry::Flag => None,
            Entry::Number(_, default) | Entry::ChoiceOfCommandLine(default) => Some(default),
            Entry::Choice(values) => Some(values[0].0),
            Entry::Text(_) | Entry::File | Entry::NetworkInterface | Entry::Reason => Some(""),
        }
    }

    /// Returns the explanation in the dialog.
    pub fn tooltip(&self, command_line: &clap::Command) -> String {
        match self.target {
            OptionTarget::Filter(text) | OptionTarget::Connection(text) => text.to_owned(),
            OptionTarget::CommandLine => {
                let help = self.argument(command_line).and_then(clap::Arg::get_help);
                help.map(ToString::to_string).unwrap_or_default()
            }
        }
    }

    /// Returns the values of a selector with their labels; none for other kinds.
    pub fn choices(&self, command_line: &clap::Command) -> Vec<(String, String)> {
        let owned = |(value, display): &(&str, &str)| ((*value).to_owned(), (*display).to_owned());
        match self.entry {
            Entry::Choice(values) => values.iter().map(owned).collect(),
            Entry::ChoiceOfCommandLine(_) => {
                let argument = self.argument(command_line);
                let values = argument
                    .into_iter()
                    .flat_map(clap::Arg::get_possible_values);
                let described = values.map(|value| {
                    let name = value.get_name().to_owned();
                    let help = value.get_help().map_or(name.clone(), ToString::to_string);
                    (name, help)
                });
                described.collect()
            }
            Entry::NetworkInterface => vec![owned(&("", "any"))],
            Entry::Reason => {
                let names = crate::reason::all().iter().map(|entry| entry.name);
                reasons(names.map(ToOwned::to_owned))
            }
            Entry::Flag | Entry::Number(..) | Entry::Text(_) | Entry::File => Vec::new(),
        }
    }

    /// Returns the option of the command line with the same name.
    fn argument<'c>(&self, command_line: &'c clap::Command) -> Option<&'c clap::Arg> {
        let mut arguments = command_line.get_arguments();
        arguments.find(|argument| argument.get_long() == Some(self.name))
    }
}

/// Returns the values of the selector of reasons with these names.
pub fn reasons(names: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let any = (String::new(), "any".to_owned());
    let each = names.map(|name| (name.clone(), name));
    std::iter::once(any).chain(each).collect()
}

/// Returns the command line as clap knows it.
pub fn command_line() -> clap::Command {
    cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The options of the command line that a capture in Wireshark has no use for.
    const ELSEWHERE: &[(&str, &str)] = &[
        ("write", "the FIFO is Wireshark's"),
        ("read", "Wireshark reads files itself"),
        ("duration", "Wireshark ends a capture"),
        ("why", "it prints causes, and no packets"),
        ("summary", "counts are no packets"),
        ("by", "counts are no packets"),
        (
            "force",
            "stops another's monitoring: a decision for the command line",
        ),
        ("print", "text"),
        ("json", "text"),
        ("utc", "text"),
        ("nano", "text"),
        ("color", "text"),
        ("packet-buffered", "output is handed on when idle"),
        ("format", "Wireshark gets pcapng"),
        ("link-type", "Wireshark reads every link type"),
        ("folded", "counts are no packets"),
        ("max-total", "the FIFO is no file on a disk"),
        ("sync", "the FIFO is no file on a disk"),
        (
            "trigger",
            "what is held back would look like nothing in a live capture",
        ),
        ("sandbox", "on where the kernel has it"),
        ("stats-interval", "Wireshark counts packets itself"),
        ("before", "goes with --trigger"),
        ("after", "goes with --trigger"),
        ("before-size", "goes with --trigger"),
        ("check", "does nothing else"),
        ("explain", "does nothing else"),
        ("query", "does nothing else"),
        ("stats", "does nothing else"),
        ("exit", "does nothing else"),
        ("version", "does nothing else"),
        ("install-wireshark", "does nothing else"),
        ("uninstall-wireshark", "does nothing else"),
        ("system", "goes with the two"),
        ("group", "goes with the two"),
        ("extcap-dir", "goes with the two"),
    ];

    #[test]
    fn every_option_of_the_command_line_is_in_the_dialog_or_has_no_use_there() {
        let command_line = command_line();
        let long = command_line.get_arguments().filter_map(clap::Arg::get_long);
        for name in long {
            let is_row = row(name).is_some_and(|row| row.target == OptionTarget::CommandLine);
            let is_elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == name);
            assert!(is_row != is_elsewhere, "--{name}");
        }
        for row in ROWS
            .iter()
            .filter(|row| row.target == OptionTarget::CommandLine)
        {
            let argument = row.argument(&command_line);
            assert!(argument.is_some(), "{}", row.name);
            let takes_value = argument.unwrap().get_action().takes_values();
            assert_eq!(takes_value, row.entry != Entry::Flag, "{}", row.name);
        }
    }

    #[test]
    fn names_are_unique_and_no_words_of_the_protocol() {
        for (position, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..position].iter().all(|other| other.name != row.name));
            assert!(!row.name.starts_with("extcap") && !["capture", "fifo"].contains(&row.name));
        }
    }

    #[test]
    fn defaults_are_among_the_choices() {
        let command_line = command_line();
        for row in ROWS {
            let choices = row.choices(&command_line);
            let mut values = choices.iter().map(|(value, _)| Some(value.as_str()));
            assert!(
                choices.is_empty() || values.any(|value| value == row.default()),
                "{}",
                row.name
            );
        }
    }
}
