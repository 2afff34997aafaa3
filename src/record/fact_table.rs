//! The table of facts as code: what each row of `fact.rs` becomes.

/// Declares the facts. A row is `Name: Kind, …` and the place of the value: `binding in pattern` for a field of
/// the record, `from … into …` for a pair of functions that get and set it, `from …` alone for a value that
/// follows from others.
macro_rules! facts {
    ($(
        $fact:ident: $kind:ident, $place:tt, { $($about:tt)* }
    )*) => {
        /// A fact of a drop, in the order of comments and of JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the rows say it")]
        #[non_exhaustive]
        pub enum Fact { $($fact),* }

        impl Fact {
            /// All facts.
            pub const ALL: &[Self] = &[$(Self::$fact),*];

            /// Returns its description.
            pub const fn about(self) -> &'static About {
                match self {
                    $(Self::$fact => const { &About { $($about)* ..About::USUAL } }),*
                }
            }

            /// Returns the kind of its values.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$fact => Kind::$kind),*
                }
            }

            /// Returns the fact that a word of the filter compares.
            pub fn from_word(word: &str) -> Option<Self> {
                let is_asked = |fact: &&Self| {
                    fact.about().key == word && fact.about().wanted.is_some()
                };
                Self::ALL.iter().find(is_asked).copied()
            }

            /// Returns its value, if the record has one.
            #[inline]
            pub fn get<'a>(self, record: &DropRecord<'a>) -> Option<Value<'a>> {
                match self {
                    $(Self::$fact => facts!(@get record $kind $place)),*
                }
            }

            /// Calls `take` for each stored fact of a record, until it returns false. Returns whether it never did.
            #[inline(always)]
            pub(super) fn all_stored<'a>(
                record: &DropRecord<'a>,
                mut take: impl FnMut(Self, Parts<'a>) -> bool,
            ) -> bool {
                $(
                    // First, because the compiler would keep the search for what is not stored.
                    if Kind::$kind.is_stored() {
                        let value: Option<Value<'a>> = facts!(@get record $kind $place);
                        if let Some(parts) = value.and_then(Value::parts)
                            && !take(Self::$fact, parts)
                        {
                            return false;
                        }
                    }
                )*
                true
            }

            /// Stores the facts that `find` returns, if the record has a place for them.
            #[inline(always)]
            pub(crate) fn store_each<'a>(
                record: &mut DropRecord<'a>,
                mut find: impl FnMut(Self) -> Option<Parts<'a>>,
            ) {
                $(facts!(@store record find $fact $kind $place);)*
            }
        }
    };
    (@get $record:ident $kind:ident ($binding:ident in $pattern:pat)) => {
        match $record {
            #[allow(unreachable_patterns, reason = "some places every record has")]
            $pattern => $binding.map(Value::$kind),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    };
    (@get $record:ident $kind:ident (from $from:expr $(, into $into:expr)?)) => {
        $from($record).map(Value::$kind)
    };
    (@store $record:ident $find:ident $fact:ident $kind:ident ($binding:ident in $pattern:pat)) => {
        match $record {
            $pattern => {
                let value = $find(Self::$fact).and_then(|parts| Kind::$kind.join(parts));
                if let Some(Value::$kind(value)) = value {
                    *$binding = Some(value);
                }
            }
            #[allow(unreachable_patterns)]
            _ => {}
        }
    };
    (@store $record:ident $find:ident $fact:ident $kind:ident (from $from:expr, into $into:expr)) => {
        if let Some(Value::$kind(value)) = $find(Self::$fact).and_then(|parts| Kind::$kind.join(parts)) {
            $into($record, value);
        }
    };
    (@store $record:ident $find:ident $fact:ident $kind:ident (from $from:expr)) => {};
}
