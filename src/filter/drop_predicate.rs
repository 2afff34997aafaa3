//! Evaluates the words for facts of the drop.

use crate::reason;
use crate::record::{Cause, DropContext, DropRecord, Fact, Interface, Name, Netns, Origin, Symbol};

use super::ast::{DropWord, NetnsWord};
use super::fact::{self, FactText};

/// Tests a fact of the drop. A fact that is absent makes the test false.
pub fn holds(word: &DropWord, record: &DropRecord<'_>) -> bool {
    let (reason, symbol) = match record.cause {
        Cause::Software { location, reason } => (reason, location.symbol),
        _ => (None, None),
    };
    match word {
        DropWord::Reason(glob) => {
            reason.is_some_and(|reason| glob.matches_any_case(reason.as_bytes()))
        }
        DropWord::Location(glob) => symbol.is_some_and(|symbol| fact::is_at(symbol, glob)),
        DropWord::Module(glob) => symbol
            .and_then(fact::module)
            .is_some_and(|module| glob.matches(module)),
        DropWord::Origin(origin) => record.cause.origin() == Some(*origin),
        DropWord::Named(Fact::Socket, glob) => {
            let socket = record.context.socket;
            socket.is_some_and(|socket| glob.matches(FactText::of(&socket).text()))
        }
        DropWord::Named(named, glob) => fact::matches(record, *named, glob),
        DropWord::Netns(word) => is_in(word, record.context),
        DropWord::Number(number, wanted) => {
            fact::can_have(record, *number) && fact::number(record, *number) == *wanted
        }
        DropWord::InterfaceIndex(index) => {
            record.input.is_some_and(|input| input.key.index == *index)
        }
        DropWord::InterfaceName(name) => {
            record
                .input
                .and_then(Interface::name)
                .map(Name::as_bytes)
                .is_some_and(|found| found == name)
                || fact::is_shown_as(record.input, name)
        }
        DropWord::NoInterface => record.input.is_none(),
        DropWord::Protocol(protocol) => record.protocol == *protocol,
        DropWord::Exactly(fact, value) => fact.is(record, value),
        DropWord::Noise => {
            record.cause.origin() == Some(Origin::Software)
                && reason::is_noise(reason.map(Name::as_bytes), symbol.map(Symbol::function))
        }
    }
}

fn is_in(word: &NetnsWord, context: DropContext<'_>) -> bool {
    let is = |wanted: &dyn Fn(Netns) -> bool| context.netns.is_some_and(wanted);
    match word {
        NetnsWord::Inode(inode) => is(&|netns| netns.inode == *inode),
        NetnsWord::Name(glob) => {
            let name = context.netns_name;
            name.is_some_and(|name| glob.matches(name.as_bytes()))
        }
        NetnsWord::Initial => is(&|netns| netns.is_initial),
        NetnsWord::Other => is(&|netns| !netns.is_initial),
        NetnsWord::Unknown => context.netns.is_none(),
    }
}
