//! Translates the words for facts of the drop into formulas.

use crate::filter::ast::DropWord;
use crate::filter::glob::Glob;
use crate::record::{self, Origin};

use super::constraint::{
    ABSENT_INDEX, ABSENT_PC, Numbers, TextConstraint, TextVariable, Variable, beginning,
};
use super::formula::{Formula, all_of};
use super::meaning::Meaning;

pub fn drop_word(word: &DropWord) -> Meaning {
    let origin = |origin| {
        let number = match origin {
            Origin::Software => 1,
            Origin::Hardware => 2,
        };
        Formula::masked(Variable::Origin, 3, Numbers::one(number))
    };
    let named = |subject, pattern: &Glob, fits| {
        Formula::Text(TextConstraint {
            subject,
            pattern: pattern.clone(),
            fits,
        })
    };
    let name = |subject, pattern: &Glob, by| Meaning {
        holds: all_of([origin(by), named(subject, pattern, true)]),
        fails: named(subject, pattern, false),
    };
    let number = |field, number: u128, absent: u128| {
        Formula::masked(field, absent | (absent - 1), Numbers::one(number))
    };
    match word {
        DropWord::Reason(glob) => name(TextVariable::Reason, glob, Origin::Software),
        DropWord::Module(glob) => name(TextVariable::Module, glob, Origin::Software),
        DropWord::Named(record::Fact::Trap, glob) => {
            name(TextVariable::Trap, glob, Origin::Hardware)
        }
        DropWord::Named(record::Fact::TrapGroup, glob) => {
            name(TextVariable::TrapGroup, glob, Origin::Hardware)
        }
        DropWord::Location(glob) => Meaning::at_most(all_of([
            origin(Origin::Software),
            named(TextVariable::Function, &plain_function(glob), true),
        ])),
        DropWord::Number(record::Fact::Pc, Some(pc)) => Meaning {
            holds: all_of([
                origin(Origin::Software),
                number(Variable::Pc, (*pc).into(), ABSENT_PC),
            ]),
            fails: number(Variable::Pc, (*pc).into(), ABSENT_PC).not(),
        },
        DropWord::Origin(by) => Meaning::exactly(origin(*by)),
        DropWord::InterfaceIndex(index) => Meaning::exactly(number(
            Variable::InterfaceIndex,
            (*index).into(),
            ABSENT_INDEX,
        )),
        // `if5` may be a name, or stand for an interface without one.
        DropWord::InterfaceName(name) if name.starts_with(b"if") => Meaning::at_most(Formula::True),
        // An interface name with wildcard characters is not a pattern.
        DropWord::InterfaceName(name) if !name.iter().any(|byte| b"*?".contains(byte)) => {
            let glob = Glob::new(name.clone());
            Meaning::at_most(named(TextVariable::InterfaceName, &glob, true))
        }
        DropWord::NoInterface => {
            Meaning::exactly(number(Variable::InterfaceIndex, ABSENT_INDEX, ABSENT_INDEX))
        }
        DropWord::Number(record::Fact::Pc, None) => Meaning::at_most(all_of([
            origin(Origin::Software),
            number(Variable::Pc, ABSENT_PC, ABSENT_PC),
        ])),
        DropWord::InterfaceName(_) | DropWord::Protocol(_) | DropWord::Netns(_) => {
            Meaning::at_most(Formula::True)
        }
        DropWord::Exactly(fact, _) => Meaning::at_most(fact.origin().map_or(Formula::True, origin)),
        DropWord::Named(fact, _) | DropWord::Number(fact, _) => {
            Meaning::at_most(fact.about().origin.map_or(Formula::True, origin))
        }
        DropWord::Noise => Meaning::at_most(origin(Origin::Software)),
    }
}

/// Returns the pattern that a location's pattern implies for the function name up to the first dot:
/// `location` tries `tcp_v4_rcv`, `tcp_v4_rcv.part.0` and `tcp_v4_rcv.part.0+0x1/0x2`.
fn plain_function(glob: &Glob) -> Glob {
    let beginning = beginning(glob.as_bytes());
    let is_whole = beginning.len() == glob.as_bytes().len();
    let end = beginning.iter().position(|byte| b".+ ".contains(byte));
    let mut plain = beginning[..end.unwrap_or(beginning.len())].to_vec();
    if end.is_none() && !is_whole {
        plain.push(b'*');
    }
    Glob::new(plain)
}
