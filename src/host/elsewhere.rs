//! Questions that are asked in other network namespaces than that of the thread.

use std::fs::{File, metadata, read_dir};
use std::os::linux::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::inet_socket::{InetSocket, PortSockets};
use super::namespace::{NAMED, enter};
use super::sysctl::Sysctl;
use super::{Question, Unseen};

/// The most namespaces that are entered, and the longest that this may take.
const MAX_NAMESPACES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(1);

/// A sysctl as the initial namespace has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialSysctl(pub Sysctl);

/// The sockets with a port in the namespaces with a name, but for that of this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketsElsewhere(pub PortSockets);

/// The sockets of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceSockets {
    /// The name of the namespace.
    pub name: String,
    /// Its sockets.
    pub sockets: Vec<InetSocket>,
}

impl Question for InitialSysctl {
    const NAME: &'static str = "initial sysctl";
    type Answer = String;

    fn look(&self) -> Result<String, Unseen> {
        let sysctl = self.0.clone();
        in_thread(move || {
            enter(File::open("/proc/1/ns/net")?).map_err(|error| {
                Unseen::Failed(format!("entering a network namespace: {error}"))
            })?;
            sysctl.look()
        })
    }
}

impl Question for SocketsElsewhere {
    const NAME: &'static str = "sockets elsewhere";
    type Answer = Vec<NamespaceSockets>;

    fn look(&self) -> Result<Vec<NamespaceSockets>, Unseen> {
        let question = self.0;
        let own = metadata("/proc/thread-self/ns/net")?.st_ino();
        // Nobody has made any.
        let named = read_dir(NAMED).into_iter().flatten().flatten();
        let named: Vec<PathBuf> = named.map(|file| file.path()).take(MAX_NAMESPACES).collect();
        in_thread(move || {
            let end = Instant::now() + PATIENCE;
            let mut found = Vec::new();
            for path in named {
                if Instant::now() > end {
                    return Err(Unseen::Failed("there are too many namespaces".into()));
                }
                let Ok(file) = File::open(&path) else {
                    continue;
                };
                let is_own = file.metadata()?.st_ino() == own;
                // Another kind of file may lie there.
                if is_own || enter(file).is_err() {
                    continue;
                }
                let sockets = question.look()?;
                if !sockets.is_empty() {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    found.push(NamespaceSockets {
                        name: name.into_owned(),
                        sockets,
                    });
                }
            }
            Ok(found)
        })
    }
}

/// Runs a function in a thread of its own, so that this one stays in its namespace.
fn in_thread<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, Unseen> + Send + 'static,
) -> Result<T, Unseen> {
    let thread = thread::Builder::new().spawn(look)?;
    thread
        .join()
        .unwrap_or_else(|_| Err(Unseen::Failed("the look failed".into())))
}
