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

/// The lines in the code blocks of README.md.
fn readme_code() -> Vec<&'static str> {
    let blocks = include_str!("../README.md")
        .split("```\n")
        .skip(1)
        .step_by(2);
    blocks.flat_map(str::lines).collect()
}

#[test]
fn the_commands_in_the_readme_are_valid() {
    let mut checked = 0;
    for line in readme_code() {
        let command = line.split("  #").next().unwrap_or_default();
        let command = command.split(" | ").next().unwrap_or_default();
        let words: Vec<&str> = match command.split_once("dwdump ") {
            _ if command.trim_end() == "dwdump" => vec!["dwdump"],
            Some(("" | "$ " | "$ sudo " | "sudo ", rest)) => std::iter::once("dwdump")
                .chain(rest.split_whitespace())
                .collect(),
            _ => continue,
        };
        let parsed = dwdump::cli::parse(words.into_iter().map(Into::into));
        assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
        checked += 1;
    }
    assert!(checked >= 15, "{checked} commands");
}

#[test]
fn the_output_in_the_readme_is_the_programs() {
    let capture = "fixtures/software-6.12.pcap";
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dwdump"))
        .args(["-r", capture, "--print", "--color", "never"])
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let code = readme_code();
    let start = code
        .iter()
        .position(|line| line.ends_with(capture))
        .unwrap();
    let shown = code[start + 1..]
        .iter()
        .take_while(|line| line.contains(" if5 "));
    assert_eq!(shown.clone().count(), 6);
    for line in shown {
        assert!(output.lines().any(|printed| printed == *line), "{line}");
    }
}

#[test]
fn the_files_that_the_map_of_the_library_names_are_there() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = include_str!("../src/lib.rs");
    let rows = map.lines().filter(|line| line.starts_with("//! | W"));
    assert!(rows.clone().count() >= 10);
    for row in rows {
        let answer = row.split(" | ").nth(2).unwrap();
        let files = answer.split('`').filter(|name| name.contains(['.', '/']));
        assert!(files.clone().count() > 0, "{row}");
        for file in files {
            assert!(source.join(file).exists(), "{file}");
        }
    }
}
