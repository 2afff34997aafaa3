//! Packets and answers of a host that somebody chose to do harm: each look ends with a finding, and what it says to run
//! is harmless.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::recorded::{self, RecordedLook};
use super::{CauseFinding, DropCase, Grade, diagnose};
use crate::host::HostState;

static LOOKS: LazyLock<Vec<RecordedLook>> = LazyLock::new(|| {
    recorded::paths()
        .map(|path| recorded::read(&path))
        .collect()
});

/// The command that nobody shall run by pasting what is printed.
const HARM: &str = "reboot";

/// Names that others may give to devices, tables, programs and namespaces.
fn names() -> [String; 8] {
    [
        "",
        "x; reboot",
        "$(reboot)",
        "`reboot`",
        "x'; reboot '",
        "a\u{1b}[31m\nreboot",
        "-all",
        &"x".repeat(300),
    ]
    .map(str::to_owned)
}

fn numbers() -> [Value; 7] {
    [
        json!(0),
        json!(1),
        json!(u8::MAX),
        json!(u16::MAX),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(-1),
    ]
}

/// Returns the JSON pointers (RFC 6901) of all values that hold no other.
fn leaves(value: &Value) -> Vec<String> {
    fn add(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    add(member, &format!("{at}/{key}"), found);
                }
            }
            Value::Array(members) => {
                for (number, member) in members.iter().enumerate() {
                    add(member, &format!("{at}/{number}"), found);
                }
            }
            _ => found.push(at.to_owned()),
        }
    }
    let mut found = Vec::new();
    add(value, "", &mut found);
    found
}

/// Replaces some values by others of their kind.
fn spoil(value: &mut Value, changes: &[(Index, Index)]) {
    let leaves = leaves(value);
    if leaves.is_empty() {
        // Some looks need no answer.
        return;
    }
    for (which, by) in changes {
        let pointer = &leaves[which.index(leaves.len())];
        let leaf = value.pointer_mut(pointer).unwrap();
        *leaf = match &*leaf {
            Value::Number(_) => by.get(&numbers()).clone(),
            Value::String(_) => by.get(&names()).as_str().into(),
            Value::Bool(is_so) => (!is_so).into(),
            other => other.clone(),
        };
    }
}

#[track_caller]
fn check(finding: &CauseFinding) {
    assert!(!finding.claim.is_empty(), "{finding:?}");
    if finding.grade == Grade::Certain {
        assert!(finding.object.is_some(), "{finding:?}");
        assert!(!finding.remedy.is_empty(), "{finding:?}");
    }
    for command in finding.remedy.iter().filter_map(|it| it.command.as_deref()) {
        assert!(!command.contains(char::is_control), "{command:?}");
        // In single quotes, a shell takes everything as it is.
        let outside: String = command.split('\'').step_by(2).collect();
        assert!(!outside.contains(HARM), "{command}");
    }
}

/// Calls `look` with the value that has each of the names at each place, alone.
fn each_renaming(value: &Value, mut look: impl FnMut(&Value)) {
    for pointer in leaves(value) {
        if value.pointer(&pointer).is_some_and(Value::is_string) {
            for name in names() {
                let mut value = value.clone();
                *value.pointer_mut(&pointer).unwrap() = name.into();
                look(&value);
            }
        }
    }
}

#[test]
fn no_name_that_somebody_chose_is_run() {
    let mut count = 0;
    for look in &*LOOKS {
        each_renaming(&look.answers, |answers| {
            let host = HostState::replay(&answers.to_string()).unwrap();
            check(&diagnose(&look.case, &host));
            count += 1;
        });
        let host = HostState::replay(&look.answers.to_string()).unwrap();
        let case = serde_json::to_value(DropCase {
            stack: Vec::new(),
            ..look.case.clone()
        });
        each_renaming(&case.unwrap(), |case| {
            let case = DropCase {
                stack: look.case.stack.clone(),
                ..serde_json::from_value(case.clone()).unwrap()
            };
            check(&diagnose(&case, &host));
            count += 1;
        });
    }
    assert!(count > 4000, "{count}");
}

fn changes() -> impl Strategy<Value = Vec<(Index, Index)>> {
    proptest::collection::vec(any::<(Index, Index)>(), 0..8)
}

proptest! {
    #[test]
    fn any_packet_has_a_finding(
        host in any::<Index>(),
        place in any::<Index>(),
        bytes in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..6),
        cut in prop_oneof![3 => Just(2048), 1 => 0_usize..80],
        length in prop_oneof![Just(None), any::<u32>().prop_map(Some)],
        link in prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some)],
        is_inbound in any::<Option<bool>>(),
    ) {
        let look = host.get(&LOOKS);
        let other = place.get(&LOOKS);
        let host = HostState::replay(&look.answers.to_string()).unwrap();
        let mut case = DropCase {
            reason: other.case.reason.clone(),
            place: other.case.place.clone(),
            function: other.case.function.clone(),
            is_inbound,
            ..look.case.clone()
        };
        for (at, byte) in bytes {
            if !case.data.is_empty() {
                let at = at.index(case.data.len());
                case.data[at] = byte;
            }
        }
        case.data.truncate(cut);
        case.length = length.unwrap_or(case.length);
        case.link = link.unwrap_or(case.link);
        check(&diagnose(&case, &host));
    }

    #[test]
    fn any_answer_of_a_host_leads_to_harmless_commands(
        which in any::<Index>(),
        in_case in changes(),
        in_answers in changes(),
    ) {
        let look = which.get(&LOOKS);
        let (mut case, mut answers) = (serde_json::to_value(&look.case).unwrap(), look.answers.clone());
        spoil(&mut case, &in_case);
        spoil(&mut answers, &in_answers);
        // A number that is too large for its place is none.
        if let Ok(case) = serde_json::from_value(case) {
            let host = HostState::replay(&answers.to_string()).unwrap();
            check(&diagnose(&case, &host));
        }
    }
}
