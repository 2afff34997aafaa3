//! The manual and the program say the same.

use std::collections::BTreeSet;

/// The manual pages, as they are installed.
const MANUAL: &str = include_str!("../man/dwdump.1");

/// The options that the manual explains: `-w`, `--write`, …
fn explained() -> BTreeSet<String> {
    let items = MANUAL
        .lines()
        .filter_map(|line| line.strip_prefix(".It Fl "));
    items
        .flat_map(|item| item.split(" , Fl "))
        .map(|option| format!("-{}", option.split(' ').next().unwrap_or_default()))
        .collect()
}

fn offered() -> BTreeSet<String> {
    let mut command = dwdump::cli::command();
    command.build();
    let arguments = command.get_arguments();
    arguments
        .flat_map(|argument| {
            let short = argument.get_short().map(|letter| format!("-{letter}"));
            let long = argument.get_long().map(|name| format!("--{name}"));
            short.into_iter().chain(long)
        })
        .collect()
}

#[test]
fn every_option_is_in_the_manual_and_nothing_else() {
    assert!(offered().len() > 20);
    assert_eq!(explained(), offered());
}

#[test]
fn every_key_of_the_table_is_in_the_manual() {
    let section = MANUAL
        .split(".Sh ")
        .find(|section| section.starts_with("THE TABLE"));
    let items = section
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix(".It Ic "));
    let explained: BTreeSet<&str> = items
        .flat_map(|item| item.split(" , "))
        .map(|key| key.trim_start_matches("\\&"))
        .collect();
    let keys = dwdump::table::KEYS
        .iter()
        .flat_map(|(keys, _)| keys.split(' '));
    assert_eq!(explained, keys.collect());
}

#[test]
fn every_value_of_a_choice_is_in_the_manual() {
    let command = dwdump::cli::command();
    let values = command
        .get_arguments()
        .filter(|argument| argument.get_action().takes_values());
    let values: Vec<String> = values
        .flat_map(clap::Arg::get_possible_values)
        .map(|value| value.get_name().to_owned())
        .collect();
    assert!(values.len() >= 7, "{values:?}");
    for value in values {
        assert!(
            MANUAL.contains(&format!(".It Cm {value}\n")),
            "{value} is not explained"
        );
    }
}

#[test]
fn the_defaults_in_the_help_are_those_in_the_manual() {
    let help = dwdump::cli::command().render_long_help().to_string();
    for (help_says, manual_says) in [
        ("[default: up to 100000]", "The default is 100000,"),
        ("[default: up to 64M]", "The default is 64M,"),
    ] {
        assert!(help.contains(help_says), "{help_says}");
        assert!(MANUAL.contains(manual_says), "{manual_says}");
    }
}
