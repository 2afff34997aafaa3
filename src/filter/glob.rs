//! Patterns with the wildcards `*` and `?`.

/// A pattern for a whole name: `*` matches any bytes, `?` one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<u8>);

impl Glob {
    pub fn new(pattern: Vec<u8>) -> Self {
        Self(pattern)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn matches(&self, name: &[u8]) -> bool {
        matches_by(&self.0, name, |pattern, byte| pattern == byte)
    }

    /// Returns whether the name matches, ignoring case.
    pub fn matches_any_case(&self, name: &[u8]) -> bool {
        matches_by(&self.0, name, |pattern, byte| {
            pattern.eq_ignore_ascii_case(&byte)
        })
    }
}

/// Matches without recursion. Only the last `*` is ever retried, so that the time is at most the
/// product of the two lengths.
fn matches_by(pattern: &[u8], name: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, read));
                continue;
            }
            Some(&wanted) if wanted == b'?' || same(wanted, name[read]) => {
                at += 1;
                read += 1;
                continue;
            }
            _ => {}
        }
        let Some((after_star, start)) = retry else {
            return false;
        };
        at = after_star;
        read = start + 1;
        retry = Some((after_star, read));
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_the_whole_name() {
        #[track_caller]
        fn check(pattern: &str, name: &str, expected: bool) {
            let glob = Glob::new(pattern.into());
            assert_eq!(
                glob.matches(name.as_bytes()),
                expected,
                "{pattern} on {name}"
            );
        }
        check("ip_rcv", "ip_rcv", true);
        check("ip_rcv", "ip_rcv_core", false);
        check("ip_*", "ip_rcv_core", true);
        check("*_core", "ip_rcv_core", true);
        check("*rcv*", "ip_rcv_core", true);
        check("*", "", true);
        check("?", "", false);
        check("i?_rcv", "ip_rcv", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-b-b-d", false);
        check("", "", true);
        check("", "x", false);
        check("NO_SOCKET", "no_socket", false);
    }

    #[test]
    fn case_can_be_ignored() {
        assert!(Glob::new(b"no_*".to_vec()).matches_any_case(b"NO_SOCKET"));
    }

    #[test]
    fn many_stars_end_soon() {
        let glob = Glob::new(b"*a".repeat(200));
        assert!(!glob.matches(&[b'b'; 1024]));
        assert!(!Glob::new([b"*a".repeat(100), b"b".to_vec()].concat()).matches(&[b'a'; 1024]));
    }
}
