//! The rules of packet filters: nftables and iptables-legacy.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::module::must_be_there;
use super::program::output;
use super::{Question, Unseen, read_file};

/// All rules of nftables, those of iptables-nft among them, as `nft -j -n list ruleset` writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NftRuleset;

impl Question for NftRuleset {
    const NAME: &'static str = "nftables";
    type Answer = Value;

    fn look(&self) -> Result<Value, Unseen> {
        must_be_there("nf_tables")?;
        let answer = output("nft", &["-j", "-n", "list", "ruleset"])?;
        serde_json::from_slice(&answer).map_err(|error| Unseen::Failed(format!("nft: {error}")))
    }
}

/// A chain of nftables as `nft -a list chain` writes it: family, table and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NftChain(pub String, pub String, pub String);

impl Question for NftChain {
    const NAME: &'static str = "chain of nftables";
    type Answer = String;

    fn look(&self) -> Result<String, Unseen> {
        must_be_there("nf_tables")?;
        let words = [self.0.as_str(), self.1.as_str(), self.2.as_str()];
        // nft reads its arguments as a language of its own, in which a name of other letters is more than a name.
        if !words.iter().all(|word| is_nft_name(word)) {
            return Err(Unseen::Failed(
                "a name that nft would not take as one".into(),
            ));
        }
        let mut arguments = vec!["-a", "list", "chain"];
        arguments.extend(words);
        Ok(String::from_utf8_lossy(&output("nft", &arguments)?).into_owned())
    }
}

/// Returns whether nft takes this as a name where it stands without quotes.
pub fn is_nft_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    name.starts_with(is_letter) && name.chars().all(goes_on)
}

/// The rules of iptables-legacy (false) or ip6tables-legacy (true), as `iptables-legacy-save -c` writes them. Empty where
/// no table is registered in this namespace: reading one would make it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyRules(pub bool);

impl Question for LegacyRules {
    const NAME: &'static str = "iptables-legacy";
    type Answer = String;

    fn look(&self) -> Result<String, Unseen> {
        let version = if self.0 { "6" } else { "" };
        let names = read_file(&format!("/proc/thread-self/net/ip{version}_tables_names"));
        match names {
            Ok(names) if !names.is_empty() => {}
            Ok(_) | Err(Unseen::Absent(_)) => return Ok(String::new()),
            Err(unseen) => return Err(unseen),
        }
        let answer = output(&format!("ip{version}tables-legacy-save"), &["-c"])?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Others that can drop packets in the hooks of the network layer, as far as this kernel shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherFilters;

impl Question for OtherFilters {
    const NAME: &'static str = "other filters";
    /// Their names.
    type Answer = Vec<String>;

    fn look(&self) -> Result<Vec<String>, Unseen> {
        let mut found = Vec::new();
        // The file's first three lines are its heading.
        let services = read_file("/proc/thread-self/net/ip_vs").unwrap_or_default();
        if services.lines().count() > 3 {
            found.push("IPVS".to_owned());
        }
        if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
            found.push("SELinux".to_owned());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_language() {
        for name in ["c", "INPUT", "_x", "a-b.c_1"] {
            assert!(is_nft_name(name), "{name}");
        }
        for name in ["", "1a", "c;", "c d", "-a", "c}", "c\n", "ä"] {
            assert!(!is_nft_name(name), "{name}");
        }
    }
}
