//! The BPF programs that packets meet.

use std::fs::{File, read_to_string};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen, rtnetlink};
use crate::sys::bpf::attached::{CgroupHook, cgroup_programs, linked_programs, program_name};

/// The programs that run for the packets of sockets in a control group, which is named by its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPrograms {
    /// The path, as `/proc/PID/cgroup` has it.
    pub path: String,
    /// For packets that come in; otherwise those that go out.
    pub is_ingress: bool,
}

/// The control group of a process, of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCgroup(pub i32);

/// The programs at XDP of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpPrograms(pub String);

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedProgram {
    /// Its number.
    pub id: u32,
    /// Its name, which is empty where it has none or this user may not see it.
    pub name: String,
    /// The control group that it is attached to.
    pub cgroup: Option<String>,
    /// The word of ip-link(8) that takes it off a device, unless a link holds it.
    #[serde(default)]
    pub mode: Option<String>,
}

impl AttachedProgram {
    /// Returns the program with this number.
    pub(super) fn of(id: u32, cgroup: Option<String>) -> Self {
        let name = program_name(id).unwrap_or_default();
        Self {
            id,
            name: String::from_utf8_lossy(&name).into_owned(),
            cgroup,
            mode: None,
        }
    }

    /// Returns its name and number.
    pub fn text(&self) -> String {
        match self.name.as_str() {
            "" => format!("BPF program {}", self.id),
            name => format!("BPF program {name} (id {})", self.id),
        }
    }
}

impl Question for CgroupPrograms {
    const NAME: &'static str = "cgroup programs";
    type Answer = Vec<AttachedProgram>;

    fn look(&self) -> Result<Vec<AttachedProgram>, Unseen> {
        let root = cgroup_root()
            .ok_or_else(|| Unseen::Absent("control groups of version 2 are not mounted".into()))?;
        let path = Path::new(&self.path);
        let is_plain = path.is_absolute() && !self.path.contains("..");
        let below = path.strip_prefix("/").ok().filter(|_| is_plain);
        let below = below.ok_or_else(|| Unseen::Failed("the path of a control group".into()))?;
        let hook = if self.is_ingress {
            CgroupHook::Ingress
        } else {
            CgroupHook::Egress
        };
        let folder = File::open(root.join(below))?;
        let effective = cgroup_programs(folder.as_fd(), hook, true)?;
        // Each belongs to this group or to one above it.
        let groups: Vec<_> = below
            .ancestors()
            .filter_map(|group| {
                let folder = File::open(root.join(group)).ok()?;
                let programs = cgroup_programs(folder.as_fd(), hook, false).ok()?;
                Some((format!("/{}", group.display()), programs))
            })
            .collect();
        let program = |id| {
            let group = groups.iter().find(|(_, programs)| programs.contains(&id));
            AttachedProgram::of(id, group.map(|(group, _)| group.clone()))
        };
        Ok(effective.into_iter().map(program).collect())
    }
}

/// Returns the folder at which the control groups of version 2 are mounted.
fn cgroup_root() -> Option<PathBuf> {
    let mounts = read_to_string("/proc/thread-self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let folder = words.next()?;
        (words.next()? == "cgroup2").then(|| folder.into())
    })
}

impl Question for ProcessCgroup {
    const NAME: &'static str = "control group of process";
    type Answer = String;

    fn look(&self) -> Result<String, Unseen> {
        let text = super::read_file(&format!("/proc/{}/cgroup", self.0))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        path.map(str::to_owned)
            .ok_or_else(|| Unseen::Absent("it has no control group of version 2".into()))
    }
}

impl Question for XdpPrograms {
    const NAME: &'static str = "XDP programs";
    type Answer = Vec<AttachedProgram>;

    fn look(&self) -> Result<Vec<AttachedProgram>, Unseen> {
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let is_it = |link: &LinkMessage| {
            let mut attributes = link.attributes.iter();
            attributes.any(
                |attribute| matches!(attribute, LinkAttribute::IfName(name) if *name == self.0),
            )
        };
        let mut found: Vec<(u32, &str)> = Vec::new();
        for answer in answers {
            let RouteNetlinkMessage::NewLink(link) = answer else {
                continue;
            };
            if !is_it(&link) {
                continue;
            }
            let facts = link
                .attributes
                .iter()
                .filter_map(|attribute| match attribute {
                    LinkAttribute::Xdp(facts) => Some(facts),
                    _ => None,
                });
            for fact in facts.flatten() {
                let (id, mode) = match fact {
                    LinkXdp::DrvProgId(id) => (*id, "xdpdrv"),
                    LinkXdp::SkbProgId(id) => (*id, "xdpgeneric"),
                    LinkXdp::HwProgId(id) => (*id, "xdpoffload"),
                    _ => continue,
                };
                if id != 0 && !found.iter().any(|&(known, _)| known == id) {
                    found.push((id, mode));
                }
            }
        }
        let linked = linked_programs();
        let program = |(id, mode): (u32, &str)| {
            let is_free = linked.as_ref().is_ok_and(|linked| !linked.contains(&id));
            AttachedProgram {
                mode: is_free.then(|| mode.to_owned()),
                ..AttachedProgram::of(id, None)
            }
        };
        Ok(found.into_iter().map(program).collect())
    }
}
