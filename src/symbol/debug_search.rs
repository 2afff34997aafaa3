//! Searches for a kernel's debug information: in the files that the user named, otherwise in the usual
//! folders of the distributions. Where there is none, it names the package that has it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::record::CaptureHost;
use crate::untrusted::Untrusted;

/// The kernel whose debug information is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WantedKernel {
    /// The kernel that runs here.
    Running,
    /// The kernel of another machine or an earlier boot, by what `uname -r` printed there.
    Release(String),
    /// An unknown kernel, for which only files that the user names can help.
    Unknown,
}

impl WantedKernel {
    /// Returns the kernel that made a capture, which dwdump writes into its files: `Linux 6.1.0-55-amd64`.
    pub fn of_host(host: &CaptureHost) -> Self {
        let os = host.os.as_ref().map(Untrusted::raw);
        let release = os.and_then(|os| os.strip_prefix("Linux "));
        match release.and_then(|release| release.split_whitespace().next()) {
            Some(release) => Self::Release(release.into()),
            None => Self::Unknown,
        }
    }
}

/// A search for the debug information of one kernel.
#[derive(Clone, Debug)]
pub struct Search {
    wanted: WantedKernel,
    release: Option<String>,
    vmlinux: Option<PathBuf>,
    modules: Option<PathBuf>,
    root: PathBuf,
    /// The files of all modules, by the module's name; the best first.
    index: Option<BTreeMap<String, Vec<PathBuf>>>,
}

impl Search {
    /// Creates a search. `vmlinux` is a file, `modules` a folder with the modules anywhere below it;
    /// where one of them is given, it is the only one that is searched.
    pub fn new(wanted: WantedKernel, vmlinux: Option<PathBuf>, modules: Option<PathBuf>) -> Self {
        let release = match &wanted {
            WantedKernel::Running => running_release(),
            WantedKernel::Release(release) => Some(release.clone()),
            WantedKernel::Unknown => None,
        };
        // The release becomes a part of paths.
        let release = release.filter(|release| !release.contains('/') && !release.is_empty());
        Self {
            wanted,
            release,
            vmlinux,
            modules,
            root: "/".into(),
            index: None,
        }
    }

    /// Searches below another folder than `/`.
    #[must_use]
    pub fn below(mut self, root: PathBuf) -> Self {
        self.root = root;
        self
    }

    /// Returns the kernel's release, where it is known.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// Returns the paths of the kernel's possible files, the best first. Not all of them exist.
    pub fn vmlinux(&self) -> Vec<PathBuf> {
        if let Some(file) = &self.vmlinux {
            return vec![file.clone()];
        }
        let Some(release) = &self.release else {
            return Vec::new();
        };
        let by_build_id = self.build_id(None).map(|id| self.by_build_id(&id));
        // Debian and Ubuntu; Fedora and Red Hat; openSUSE; a kernel built here.
        let usual = [
            format!("usr/lib/debug/boot/vmlinux-{release}"),
            format!("usr/lib/debug/lib/modules/{release}/vmlinux"),
            format!("usr/lib/debug/usr/lib/modules/{release}/vmlinux"),
            format!("usr/lib/debug/usr/lib/modules/{release}/vmlinux.debug"),
            format!("usr/lib/debug/boot/vmlinux-{release}.debug"),
            format!("usr/lib/debug/vmlinux-{release}"),
            format!("lib/modules/{release}/build/vmlinux"),
            format!("lib/modules/{release}/vmlinux"),
            format!("boot/vmlinux-{release}"),
        ];
        let usual = usual.into_iter().flat_map(|path| {
            let packed = PACKED.map(|suffix| format!("{path}{suffix}"));
            std::iter::once(path).chain(packed)
        });
        let usual = usual.map(|path| self.root.join(path));
        by_build_id.into_iter().chain(usual).collect()
    }

    /// Returns whether the user named this file.
    pub fn is_given(&self, path: &Path) -> bool {
        self.vmlinux.as_deref() == Some(path)
    }

    /// Returns the paths of a module's possible files, the best first.
    pub fn module(&mut self, name: &str) -> Vec<PathBuf> {
        let by_build_id = match &self.modules {
            Some(_) => None,
            None => self.build_id(Some(name)).map(|id| self.by_build_id(&id)),
        };
        let by_name = self.index().get(name).cloned().unwrap_or_default();
        by_build_id.into_iter().chain(by_name).collect()
    }

    /// Returns the modules whose names begin with a prefix.
    pub fn modules_with_prefix(&mut self, prefix: &str) -> Vec<String> {
        let from_prefix = self.index().range(prefix.to_owned()..);
        let found = from_prefix.take_while(|(name, _)| name.starts_with(prefix));
        found.map(|(name, _)| name.clone()).collect()
    }

    fn index(&mut self) -> &BTreeMap<String, Vec<PathBuf>> {
        let folders = match (&self.modules, &self.release) {
            (Some(folder), _) => vec![folder.clone()],
            (None, Some(release)) => [
                format!("usr/lib/debug/lib/modules/{release}"),
                format!("usr/lib/debug/usr/lib/modules/{release}"),
                format!("lib/modules/{release}"),
            ]
            .map(|path| self.root.join(path))
            .into(),
            (None, None) => Vec::new(),
        };
        self.index.get_or_insert_with(|| {
            let mut index = BTreeMap::new();
            for folder in folders {
                add_modules(&mut index, &folder, 0);
            }
            index
        })
    }

    /// Returns the build id of the running kernel, or of a loaded module.
    pub fn build_id(&self, module: Option<&str>) -> Option<Vec<u8>> {
        if self.wanted != WantedKernel::Running {
            return None;
        }
        let path = match module {
            None => "sys/kernel/notes".into(),
            Some(name) => format!("sys/module/{name}/notes/.note.gnu.build-id"),
        };
        build_id_of_notes(&fs::read(self.root.join(path)).ok()?)
    }

    fn by_build_id(&self, id: &[u8]) -> PathBuf {
        let mut digits = String::new();
        for byte in id {
            // Writing to a String cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        let (folder, file) = digits.split_at(2.min(digits.len()));
        self.root
            .join("usr/lib/debug/.build-id")
            .join(folder)
            .join(format!("{file}.debug"))
    }

    /// Returns the hint for missing debug information: which package has it.
    pub fn advice(&self) -> String {
        let Some(release) = &self.release else {
            return "name the debug information of the kernel that made the capture: --vmlinux FILE, \
                    --modules DIR"
                .into();
        };
        let package = match distribution(release) {
            Some(Distribution::Debian) => format!("install linux-image-{release}-dbg"),
            Some(Distribution::Ubuntu) => {
                format!("install linux-image-unsigned-{release}-dbgsym (from ddebs.ubuntu.com)")
            }
            Some(Distribution::Fedora) => {
                format!("`dnf debuginfo-install kernel-core-{release}` installs kernel-debuginfo")
            }
            Some(Distribution::Suse) => "install kernel-default-debuginfo".into(),
            None => "install the debug information of this kernel's package".into(),
        };
        format!("{package}, or name files that have it: --vmlinux FILE, --modules DIR")
    }
}

/// The distribution that built a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distribution {
    Debian,
    Ubuntu,
    Fedora,
    Suse,
}

/// Returns the distribution by the form of the kernel's release, because the capture may come from
/// another machine.
fn distribution(release: &str) -> Option<Distribution> {
    let ends_with = |flavours: &[&str]| flavours.iter().any(|name| release.ends_with(name));
    let has_part = |start: &str| {
        release.split('.').any(|part| {
            part.strip_prefix(start)
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        })
    };
    if has_part("fc") || has_part("el") {
        Some(Distribution::Fedora)
    } else if release.contains("+deb") || ends_with(&["-amd64", "-arm64", "-686", "-686-pae"]) {
        Some(Distribution::Debian)
    } else if ends_with(&[
        "-generic",
        "-lowlatency",
        "-aws",
        "-azure",
        "-gcp",
        "-oracle",
        "-kvm",
    ]) {
        Some(Distribution::Ubuntu)
    } else if ends_with(&["-default"]) {
        Some(Distribution::Suse)
    } else {
        None
    }
}

fn running_release() -> Option<String> {
    let uname = nix::sys::utsname::uname().ok()?;
    Some(uname.release().to_str()?.to_owned())
}

/// Finds the build id among ELF notes (`Elf32_Nhdr`, elf.h: two lengths and a type, then name and
/// description, each padded to 4 bytes).
fn build_id_of_notes(mut notes: &[u8]) -> Option<Vec<u8>> {
    const NT_GNU_BUILD_ID: u32 = 3;
    loop {
        let (header, rest) = notes.split_at_checked(12)?;
        let word = |place: usize| {
            let bytes = header[place..place + 4].try_into();
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let padded = |len: u32| usize::try_from(len).ok()?.checked_next_multiple_of(4);
        let (name, rest) = rest.split_at_checked(padded(word(0))?)?;
        // The padding of the last note may be missing.
        let len = usize::try_from(word(4)).ok()?;
        let description = rest.get(..len)?;
        if word(8) == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return (!description.is_empty()).then(|| description.to_vec());
        }
        notes = rest.get(padded(word(4))?..)?;
    }
}

/// Adds the modules below a folder to the index. Symbolic links to folders, such as `build`, are not
/// followed.
fn add_modules(index: &mut BTreeMap<String, Vec<PathBuf>>, folder: &Path, depth: u32) {
    const MAX_DEPTH: u32 = 20;
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth < MAX_DEPTH {
                add_modules(index, &entry.path(), depth + 1);
            }
        } else if let Some(name) = module_name(&entry.file_name()) {
            index.entry(name).or_default().push(entry.path());
        }
    }
}

/// The suffixes of compressed files.
const PACKED: [&str; 3] = [".xz", ".zst", ".gz"];

/// Returns the module's name for the name of its file: `nf_tables` for `nf-tables.ko`,
/// `nf_tables.ko.xz`, `nf_tables.ko.zst.debug` or `nf_tables.ko.debug.gz`.
fn module_name(file: &OsStr) -> Option<String> {
    let mut stem = file.to_str()?;
    let shorter = |name: &str| {
        let mut suffixes = PACKED.into_iter().chain([".debug"]);
        suffixes.find_map(|suffix| name.strip_suffix(suffix).map(str::len))
    };
    while let Some(len) = shorter(stem) {
        stem = &stem[..len];
    }
    Some(stem.strip_suffix(".ko")?.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_package_that_helps_is_named() {
        #[track_caller]
        fn check(release: &str, wanted: &str) {
            let search = Search::new(WantedKernel::Release(release.into()), None, None);
            let advice = search.advice();
            assert!(advice.contains(wanted), "{advice}");
            assert!(advice.contains("--vmlinux FILE"), "{advice}");
        }
        check("6.1.0-55-amd64", "linux-image-6.1.0-55-amd64-dbg");
        check(
            "6.12.107+deb13-cloud-arm64",
            "linux-image-6.12.107+deb13-cloud-arm64-dbg",
        );
        check(
            "6.8.0-45-generic",
            "linux-image-unsigned-6.8.0-45-generic-dbgsym",
        );
        check("6.11.4-301.fc41.x86_64", "kernel-debuginfo");
        check("5.14.0-503.11.1.el9_5.x86_64", "kernel-debuginfo");
        check("6.4.0-150600.21-default", "kernel-default-debuginfo");
        check("6.18.1-me", "this kernel's package");
        let unknown = Search::new(WantedKernel::Unknown, None, None);
        assert!(unknown.advice().contains("--vmlinux FILE"));
    }

    #[test]
    fn files_are_found_in_the_usual_places() {
        let root = tempfile::tempdir().unwrap();
        let touch = |path: &str, content: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        };
        let debug = touch(
            "usr/lib/debug/lib/modules/6.1/kernel/net/nf-tables.ko.debug",
            b"",
        );
        let installed = touch("lib/modules/6.1/kernel/net/nf_tables.ko.xz", b"");
        touch("lib/modules/6.1/modules.dep", b"");
        let of_6_1 = || Search::new(WantedKernel::Release("6.1".into()), None, None);
        let mut search = of_6_1().below(root.path().into());
        assert_eq!(search.module("nf_tables"), [debug, installed]);
        assert_eq!(search.modules_with_prefix("nf_t"), ["nf_tables"]);
        assert!(search.module("gre").is_empty());
        let usual = root.path().join("usr/lib/debug/boot/vmlinux-6.1");
        assert_eq!(search.vmlinux()[0], usual);
        // Files that the user named are the only ones.
        let given = Search::new(
            WantedKernel::Unknown,
            Some("a".into()),
            Some(root.path().into()),
        );
        let mut given = given.below("/nonexistent".into());
        assert_eq!(given.vmlinux(), [Path::new("a")]);
        assert_eq!(given.module("nf_tables").len(), 2);
        // The running kernel has a build id.
        let mut note = Vec::new();
        for word in [4_u32, 3, 7, 4, 2, 3] {
            note.extend(word.to_ne_bytes());
            if note.len() == 12 {
                note.extend(b"XYZ\0abc\0");
            }
        }
        note.extend(b"GNU\0\xab\xcd");
        touch("sys/kernel/notes", &note);
        let running = Search::new(WantedKernel::Running, None, None).below(root.path().into());
        assert_eq!(running.build_id(None).unwrap(), [0xab, 0xcd]);
        assert!(running.vmlinux()[0].ends_with("usr/lib/debug/.build-id/ab/cd.debug"));
        // A capture may claim any release.
        let hostile = Search::new(WantedKernel::Release("../../x".into()), None, None);
        assert!(hostile.vmlinux().is_empty());
    }

    #[test]
    fn modules_have_their_names_however_they_are_packed() {
        for file in [
            "nf-tables.ko",
            "nf_tables.ko.debug",
            "nf_tables.ko.xz",
            "nf_tables.ko.zst.debug",
            "nf_tables.ko.debug.gz",
        ] {
            assert_eq!(module_name(file.as_ref()).as_deref(), Some("nf_tables"));
        }
        for file in ["modules.dep", "nf_tables.xz", ".debug", "nf_tables.ko.bz2"] {
            assert_eq!(module_name(file.as_ref()), None, "{file}");
        }
    }

    #[test]
    fn a_capture_says_which_kernel_made_it() {
        let wanted = |os: Option<&str>| {
            WantedKernel::of_host(&CaptureHost {
                hardware: None,
                os: os.map(|os| os.to_owned().into()),
                boot: None,
            })
        };
        let release = WantedKernel::Release("6.1.0-55-amd64".into());
        assert_eq!(wanted(Some("Linux 6.1.0-55-amd64")), release);
        assert_eq!(wanted(Some("Linux ")), WantedKernel::Unknown);
        assert_eq!(wanted(Some("Windows 11")), WantedKernel::Unknown);
        assert_eq!(wanted(None), WantedKernel::Unknown);
    }

    proptest! {
        #[test]
        fn no_notes_panic(bytes in proptest::collection::vec(0..8_u8, 0..100)) {
            let _ = build_id_of_notes(&bytes);
        }
    }
}
