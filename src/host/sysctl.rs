//! A sysctl.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Question, Unseen, read_file};

/// The value of a sysctl, as the kernel writes it. The answer is that of the thread's network namespace where the
/// sysctl has one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl(Vec<String>);

impl Sysctl {
    /// Names a sysctl by its parts: an interface's name can contain dots.
    pub fn new<'n>(parts: impl IntoIterator<Item = &'n str>) -> Self {
        Self(parts.into_iter().map(str::to_owned).collect())
    }

    /// Returns `net.ipv4.conf.INTERFACE.NAME`.
    pub fn ipv4(interface: &str, name: &str) -> Self {
        Self::new(["net", "ipv4", "conf", interface, name])
    }

    /// Returns `net.ipv6.conf.INTERFACE.NAME`.
    pub fn ipv6(interface: &str, name: &str) -> Self {
        Self::new(["net", "ipv6", "conf", interface, name])
    }

    /// Returns the name as sysctl(8) takes it: dots inside a part are written as slashes.
    pub fn name(&self) -> String {
        let parts: Vec<_> = self.0.iter().map(|part| part.replace('.', "/")).collect();
        parts.join(".")
    }

    /// Returns the file below `/proc/sys`.
    pub fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/proc/sys");
        path.extend(&self.0);
        path
    }
}

impl Question for Sysctl {
    const NAME: &'static str = "sysctl";
    type Answer = String;

    fn look(&self) -> Result<String, Unseen> {
        let is_plain = |part: &String| !part.contains('/') && part != "..";
        if !self.0.iter().all(is_plain) {
            return Err(Unseen::Failed(format!("{} is no sysctl", self.name())));
        }
        read_file(&self.path().to_string_lossy())
    }
}
