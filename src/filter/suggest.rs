//! Finds the name that was probably meant by a mistyped one.

use strsim::osa_distance;

/// Returns the known name that is nearest to `name`, ignoring case, if at most a third of it differs.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer than every name there is; keeps the square of the length harmless.
    const MAX_LEN: usize = 128;
    if name.len() > MAX_LEN {
        return None;
    }
    let name = name.to_ascii_uppercase();
    let most = (name.len() / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= most)
        .map(|candidate| {
            let distance = osa_distance(&name, &candidate.to_ascii_uppercase());
            (distance, candidate)
        })
        .filter(|&(distance, _)| distance <= most)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["NO_SOCKET", "NETFILTER_DROP", "TCP_CSUM", "UDP_CSUM"];

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        #[track_caller]
        fn check(name: &str, nearest_name: Option<&str>) {
            assert_eq!(nearest(name, KNOWN), nearest_name);
        }
        check("NO_SOKET", Some("NO_SOCKET"));
        check("netfilter_dorp", Some("NETFILTER_DROP"));
        check("TCP_SCUM", Some("TCP_CSUM"));
        check("NO_SOCKET", Some("NO_SOCKET"));
        check("SOMETHING_ELSE", None);
        check("", None);
        check(&"X".repeat(1000), None);
    }
}
