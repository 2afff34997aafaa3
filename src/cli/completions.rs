//! The completions of bash, zsh and fish are what clap knows of the options, and the words of the filter.
//!
//! clap_complete writes what follows an option. It knows nothing of the words of a filter, which depend on the
//! word before: each shell gets a function of its own for them, which is appended here.

#![allow(clippy::format_push_string)] // Of a test, where `write!` would only be longer.

use std::collections::BTreeMap;
use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, ValueHint};
use clap_complete::{Shell, generate};

use crate::{filter, reason};

/// The words of the filter that one of a few names follows, with the list of these names.
const FOLLOWED: [(&str, NameList); 6] = [
    ("reason", NameList::Reasons),
    ("location", NameList::Functions),
    ("origin", NameList::Origins),
    ("iface", NameList::Interfaces),
    ("ifname", NameList::Interfaces),
    ("on", NameList::Interfaces),
];

/// The names that follow a word of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameList {
    Reasons,
    Functions,
    Origins,
    Interfaces,
}

impl NameList {
    /// Returns the names, separated by blanks; `None` for those that only the host knows.
    fn names(self) -> Option<String> {
        let names: Vec<_> = match self {
            Self::Reasons => reason::all().iter().map(|entry| entry.name).collect(),
            Self::Functions => functions().collect(),
            Self::Origins => vec!["sw", "hw"],
            Self::Interfaces => return None,
        };
        Some(names.join(" "))
    }
}

fn functions() -> impl Iterator<Item = &'static str> {
    reason::functions().iter().map(|entry| entry.function)
}

/// Returns the command line, with the values that clap does not know of.
fn command() -> clap::Command {
    // No quotation mark, dollar sign or backquote: they mean something within the quotes of some shell.
    let plain = |text: &'static str| text.replace(['"', '$', '`', '\''], "");
    let reasons = reason::all().iter();
    let reasons = reasons.map(|entry| PossibleValue::new(entry.name).help(plain(entry.meaning)));
    let places = reason::functions().iter();
    let places = places.map(|entry| PossibleValue::new(entry.function).help(plain(entry.meaning)));
    let noise = PossibleValue::new("noise").help("All that is usually harmless");
    let names: Vec<_> = reasons.chain(places).chain([noise]).collect();
    super::command()
        .mut_arg("explain", |arg| {
            arg.value_parser(PossibleValuesParser::new(names))
        })
        .mut_arg("origin", |arg| arg.value_parser(["sw", "hw"]))
        .mut_args(|arg| match arg.get_action() {
            ArgAction::Set | ArgAction::Append => {
                let hint = hint(&arg);
                arg.value_hint(hint)
            }
            _ => arg,
        })
}

/// Returns what a shell offers where an option's values are not listed.
fn hint(arg: &Arg) -> ValueHint {
    let name = arg.get_value_names().and_then(<[_]>::first);
    match name.map(AsRef::as_ref) {
        Some("FILE") => ValueHint::FilePath,
        Some("DIR") => ValueHint::DirPath,
        _ => ValueHint::Other,
    }
}

/// Returns clap's completions for a shell.
fn by_clap(shell: Shell) -> String {
    let mut text = Vec::new();
    generate(shell, &mut command(), "dwdump", &mut text);
    String::from_utf8(text).unwrap()
}

/// The options whose value is the next word, as patterns: `-w`, `--write`, …
fn options_with_value() -> Vec<String> {
    let command = command();
    let options = command.get_opts().filter(|arg| {
        let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        takes_value && !arg.is_require_equals_set()
    });
    let words = options.flat_map(|arg| {
        let short = arg.get_short().map(|letter| format!("-{letter}"));
        let long = arg.get_long().map(|name| format!("--{name}"));
        short.into_iter().chain(long)
    });
    words.collect()
}

/// Replaces what must be there, once or more.
#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "clap writes no `{from}`");
    text.replace(from, to)
}

/// The head of every file.
fn head(text: &str) -> String {
    format!(
        "# Generated, by `UPDATE_GOLDEN=1 cargo test --lib cli::completions`: change src/cli, not this file.\n{text}"
    )
}

fn bash() -> String {
    let mut cases = String::new();
    for (word, list) in FOLLOWED {
        let (names, typed) = match list {
            // Filters take reasons in any case.
            NameList::Reasons => (list.names(), "${cur^^}"),
            _ => (list.names(), "$cur"),
        };
        let names = names.unwrap_or_else(|| "$(command ls /sys/class/net 2>/dev/null)".into());
        cases += &format!(
            "        {word})\n            COMPREPLY=($(compgen -W \"{names}\" -- \"{typed}\"))\n            return 0\n            ;;\n"
        );
    }
    let words = format!(
        r#"
# After an option, clap's completions; otherwise the words of a filter.
_dwdump_words() {{
    local cur="$2" prev="$3"
    # bash takes `=` for a word of its own.
    if [[ $cur == = ]]; then
        cur=""
    elif [[ $prev == = ]]; then
        prev="${{COMP_WORDS[COMP_CWORD - 2]}}"
    fi
    case "$prev" in
        {values})
            _dwdump "$1" "$cur" "$prev"
            return 0
            ;;
    esac
    # No file is a word of a filter.
    [[ ${{BASH_VERSINFO[0]}} -lt 4 ]] || compopt +o bashdefault +o default
    case "$prev" in
{cases}    esac
    if [[ $cur == -* ]]; then
        _dwdump "$1" "$cur" "$prev"
    else
        COMPREPLY=($(compgen -W "{filter}" -- "$cur"))
    fi
}}

"#,
        values = options_with_value().join(" | "),
        filter = filter::completable().join(" "),
    );
    let text = replaced(
        &by_clap(Shell::Bash),
        "complete -F _dwdump ",
        "complete -F _dwdump_words ",
    );
    let (function, rest) = text.split_once("\n\nif [[").unwrap();
    head(&format!("{function}\n{words}if [[{rest}"))
}

fn zsh() -> String {
    let mut cases = String::new();
    for (word, list) in FOLLOWED {
        let action = match (list, list.names()) {
            (NameList::Reasons, Some(names)) => {
                format!("compadd -M 'm:{{a-z}}={{A-Z}}' {names}")
            }
            (_, Some(names)) => format!("compadd {names}"),
            (_, None) => "_net_interfaces".into(),
        };
        cases += &format!("        {word}) {action} ;;\n");
    }
    let function = format!(
        "# The words of a filter, and what follows them.\n\
         (( $+functions[_dwdump_filter] )) ||\n\
         _dwdump_filter() {{\n    case \"${{words[CURRENT-1]}}\" in\n{cases}        *) compadd {} ;;\n    esac\n}}\n\n",
        filter::completable().join(" ")
    );
    let text = by_clap(Shell::Zsh);
    // The only value whose completion is not given.
    let line = text.lines().find(|line| line.starts_with("'*::filter"));
    let line = line.expect("clap completes the filter");
    let completed = replaced(line, ":' \\", ":_dwdump_filter' \\");
    let text = replaced(&text, line, &completed);
    let (first, rest) = text.split_once('\n').unwrap();
    let rest = replaced(
        rest,
        "if [ \"$funcstack[1]\"",
        &format!("{function}if [ \"$funcstack[1]\""),
    );
    // zsh reads the first line.
    format!("{first}\n{}", head(&rest))
}

fn fish() -> String {
    let mut lists: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (word, list) in FOLLOWED {
        let names = list
            .names()
            .unwrap_or_else(|| "(__fish_print_interfaces)".into());
        lists.entry(names).or_default().push(word);
    }
    let mut text = by_clap(Shell::Fish);
    text += &format!(
        r"
# Whether the word before the cursor is one of these.
function __dwdump_after
    contains -- (commandline -opc)[-1] $argv
end

complete -c dwdump -f
complete -c dwdump -f -n 'not __dwdump_after {} {}' -a '{}'
",
        options_with_value().join(" "),
        FOLLOWED.map(|(word, _)| word).join(" "),
        filter::completable().join(" "),
    );
    for (names, words) in lists {
        text += &format!(
            "complete -c dwdump -f -n '__dwdump_after {}' -a '{names}'\n",
            words.join(" ")
        );
    }
    head(&text)
}

#[track_caller]
fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/completions")
        .join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == text,
        "packaging/completions/{file} is stale: UPDATE_GOLDEN=1 cargo test --lib cli::completions"
    );
}

#[test]
fn the_completions_are_those_of_the_program() {
    check("dwdump.bash", &bash());
    check("_dwdump", &zsh());
    check("dwdump.fish", &fish());
}

#[test]
fn every_word_that_a_name_follows_is_one_of_the_filter() {
    let words = filter::completable();
    assert!(words.len() > 60, "{words:?}");
    for (word, _) in FOLLOWED {
        assert!(words.contains(&word), "{word}");
    }
}
