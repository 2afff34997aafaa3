//! Parses a symbol as the kernel sent it: the output of `%pS`, cut at 39 characters.

use super::MAX_SENT;
use crate::record::Symbol;

/// The parts of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The function, with a compiler's suffix.
    pub function: &'a [u8],
    /// A part of the function's name may have been cut off.
    pub is_function_cut: bool,
    /// The offset in the function, in bytes; `None` where it was cut.
    pub offset: Option<u64>,
    /// The size of the function, in bytes; `None` where it was cut.
    pub size: Option<u64>,
    /// The module that the function belongs to.
    pub module: Module<'a>,
}

/// The module that a function belongs to, as far as a sent symbol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module<'a> {
    /// The kernel itself.
    Kernel,
    /// The module of this name.
    Named(&'a [u8]),
    /// A module whose name begins so.
    Prefix(&'a [u8]),
    /// Unknown, because the module may have been cut off.
    Unknown,
}

impl<'a> Sent<'a> {
    /// Parses a symbol. Any text is accepted; parts that are malformed count as cut.
    pub fn new(symbol: Symbol<'a>) -> Self {
        let text = symbol.0.as_bytes();
        // A longer symbol was completed already.
        let may_be_cut = text.len() == MAX_SENT;
        let end = if may_be_cut {
            Module::Unknown
        } else {
            Module::Kernel
        };
        let mut sent = Self {
            function: symbol.function(),
            is_function_cut: false,
            offset: None,
            size: None,
            module: end,
        };
        let rest = &text[sent.function.len()..];
        sent.is_function_cut = rest.is_empty() && may_be_cut;
        let (place, module) = match rest.iter().position(|&byte| byte == b' ') {
            Some(space) => (&rest[..space], Some(&rest[space + 1..])),
            None => (rest, None),
        };
        let mut numbers = place
            .strip_prefix(b"+")
            .unwrap_or(b"")
            .split(|&byte| byte == b'/');
        let (offset, size) = (numbers.next(), numbers.next());
        let is_whole = |has_more: bool| has_more || !may_be_cut;
        sent.offset = offset.filter(|_| is_whole(size.is_some())).and_then(number);
        sent.size = size.filter(|_| is_whole(module.is_some())).and_then(number);
        if let Some(name) = module.and_then(|module| module.strip_prefix(b"[")) {
            sent.module = match name.strip_suffix(b"]") {
                Some(name) => Module::Named(name),
                None => Module::Prefix(name),
            };
        } else if module.is_some() {
            sent.module = Module::Unknown;
        }
        sent
    }

    /// Returns whether the symbol alone identifies an address of a file.
    #[cfg(feature = "source-lines")]
    pub fn is_whole(&self) -> bool {
        self.offset.is_some() && matches!(self.module, Module::Kernel | Module::Named(_))
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?.strip_prefix("0x")?;
    (!digits.starts_with('+')).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Name;
    use proptest::prelude::*;

    #[test]
    fn symbols_are_parsed_wherever_they_were_cut() {
        #[track_caller]
        fn check(text: &str, offset: Option<u64>, size: Option<u64>, module: Module<'_>) {
            let sent = Sent::new(Symbol(Name::new(text.as_bytes()).unwrap()));
            assert_eq!(
                (sent.offset, sent.size, sent.module),
                (offset, size, module)
            );
        }
        use Module::{Kernel, Named, Prefix, Unknown};
        check("ip_rcv+0x1a/0x2b", Some(0x1a), Some(0x2b), Kernel);
        check(
            "gre_rcv+0x41/0xb0 [gre]",
            Some(0x41),
            Some(0xb0),
            Named(b"gre"),
        );
        check("ip_rcv", None, None, Kernel);
        // Each of these has 39 characters.
        check(
            "__netif_receive_skb_core.constprop.0+0x",
            None,
            None,
            Unknown,
        );
        check(
            "ip_rcv_finish_core.constprop.0+0x1ab/0x",
            Some(0x1ab),
            None,
            Unknown,
        );
        check(
            "ip_rcv_finish_core.constprop.0+0x1ab12/",
            Some(0x1_ab12),
            None,
            Unknown,
        );
        check(
            "a_function_of_some_module+0x1a/0x23 [nf",
            Some(0x1a),
            Some(0x23),
            Prefix(b"nf"),
        );
        check(
            "a_function_of_some_module+0x1a/0x234 [m",
            Some(0x1a),
            Some(0x234),
            Prefix(b"m"),
        );
        check(
            "a_function_of_some_modul+0x1a/0x23 [nf]",
            Some(0x1a),
            Some(0x23),
            Named(b"nf"),
        );
        check(
            "a_function_of_some_module_xyz+0x1a/0x23",
            Some(0x1a),
            None,
            Unknown,
        );
        check(
            "a_function_of_some_module_xyz+0x1a/0x2 ",
            Some(0x1a),
            Some(2),
            Unknown,
        );
        check(
            "a_function_of_some_module_with_a_long_n",
            None,
            None,
            Unknown,
        );
        // A longer symbol was never cut.
        let whole = "__netif_receive_skb_core.constprop.0+0x14/0xdf0";
        check(whole, Some(0x14), Some(0xdf0), Kernel);
    }

    proptest! {
        #[test]
        fn no_symbol_panics(text in r"[a-z+/x0-9 \[\]]{1,45}") {
            Sent::new(Symbol(Name::new(text.as_bytes()).unwrap()));
        }
    }
}
