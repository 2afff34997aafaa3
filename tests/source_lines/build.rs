//! A kernel of a few functions, and a module: like the real ones in all that matters here.

use std::fs;
use std::path::Path;
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};

/// In the kernel's folders. `RETURN` notes the address that a call returns to.
const SOURCES: [(&str, &str); 5] = [
    (
        "include/linux/skbuff.h",
        r#"
#define RETURN asm volatile("1: .pushsection .returns, \"a\"; .quad 1b; .popsection" ::: "memory")
void kfree_skb_reason(void *skb, int reason);
static inline __attribute__((always_inline)) void kfree_skb(void *skb)
{
        kfree_skb_reason(skb, 2); /* the wrapper */
}
"#,
    ),
    (
        "net/ipv4/ip_input.c",
        r#"
#include <linux/skbuff.h>
extern int sink;
void ip_rcv_finish_core(void *skb) asm("ip_rcv_finish_core.constprop.0");
void ip_rcv_finish_core(void *skb)
{
        sink++;
        kfree_skb(skb); /* first drop */
        RETURN;
        sink++;
}

static inline __attribute__((always_inline)) void ip_inlined(void *skb)
{
        kfree_skb(skb); /* in an inlined function */
        RETURN;
}

void ip_rcv(void *skb)
{
        sink++;
        ip_inlined(skb);
        sink++;
}

void __a_function_with_a_name_that_is_much_too_long(void *skb)
{
        sink++;
        kfree_skb(skb); /* long name */
        RETURN;
        sink++;
}

static __attribute__((noinline, used)) void twin(void *skb)
{
        kfree_skb(skb); /* one twin */
        RETURN;
}
"#,
    ),
    (
        "net/core/skbuff.c",
        r"
int sink;
void kfree_skb_reason(void *skb, int reason)
{
        sink += reason;
}
",
    ),
    (
        "net/core/dev.c",
        r"
#include <linux/skbuff.h>
static __attribute__((noinline, used)) void twin(void *skb)
{
        kfree_skb(skb); /* other twin */
        RETURN;
}
",
    ),
    (
        "net/ipv4/gre.c",
        r#"
#include <linux/skbuff.h>
int count;
void gre_rcv(void *skb)
{
        count++;
        kfree_skb(skb); /* module drop */
        RETURN;
        count++;
}

void gre_function_with_a_name_of_its_own(void *skb)
{
        count++;
        kfree_skb(skb); /* cut in a module */
        RETURN;
        count++;
}

__attribute__((section(".init.text"))) void gre_init(void *skb)
{
        count++;
        kfree_skb(skb); /* init drop */
        RETURN;
        count++;
}
"#,
    ),
];

/// A folder with `vmlinux` and `modules/gre.ko`.
pub struct Built(tempfile::TempDir);

/// Where a packet is dropped.
pub struct Place {
    /// The file's address that the call returns to; in a module, within its section.
    pub address: u64,
    /// In the words of `%pS`.
    pub symbol: String,
    /// `net/ipv4/gre.c:12`
    pub line: String,
}

pub fn run(program: &str, arguments: &[&str]) {
    run_in(Path::new("."), program, arguments);
}

fn run_in(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {talk}");
}

impl Built {
    pub fn new(flags: &[&str]) -> Self {
        let built = Self(tempfile::tempdir().unwrap());
        for (name, text) in SOURCES {
            let path = built.source().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir(built.folder().join("modules")).unwrap();
        let model = if cfg!(target_arch = "x86_64") {
            "-mcmodel=kernel"
        } else {
            "-g"
        };
        let common = [
            "-g",
            "-O2",
            "-ffreestanding",
            "-fno-pie",
            // Or gcc makes one of functions that do the same.
            "-fno-ipa-icf",
            "-Iinclude",
            model,
        ];
        let compile = |arguments: &[&str]| {
            let arguments = [&common, flags, arguments].concat();
            run_in(&built.source(), "gcc", &arguments);
        };
        // As Debian's: linked with its relocations kept.
        compile(&[
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,-Ttext=0xffffffff81000000,--emit-relocs,-e0,--build-id",
            "-o",
            "../vmlinux",
            "net/ipv4/ip_input.c",
            "net/core/dev.c",
            "net/core/skbuff.c",
        ]);
        compile(&["-c", "-o", "../modules/gre.ko", "net/ipv4/gre.c"]);
        built
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    fn source(&self) -> std::path::PathBuf {
        self.0.path().join("source")
    }

    /// The line with this comment.
    pub fn line(&self, file: &str, comment: &str) -> String {
        let text = fs::read_to_string(self.source().join(file)).unwrap();
        let comment = format!("/* {comment} */");
        let line = text.lines().position(|line| line.contains(&comment));
        format!("{file}:{}", line.unwrap() + 1)
    }

    pub fn kernel_place(&self, function: &str, comment: &str) -> Place {
        let file = if comment == "other twin" {
            "net/core/dev.c"
        } else {
            "net/ipv4/ip_input.c"
        };
        let bytes = fs::read(self.folder().join("vmlinux")).unwrap();
        let elf = object::File::parse(&*bytes).unwrap();
        let returns = elf.section_by_name(".returns").unwrap().data().unwrap();
        let returns = returns
            .chunks(8)
            .map(|word| (None, u64::from_ne_bytes(word.try_into().unwrap())));
        let number = usize::from(comment == "other twin");
        let line = self.line(file, comment);
        place(&elf, returns.collect(), function, number, "", line)
    }

    pub fn module_place(&self, function: &str, comment: &str) -> Place {
        let bytes = fs::read(self.folder().join("modules/gre.ko")).unwrap();
        let elf = object::File::parse(&*bytes).unwrap();
        let returns = elf.section_by_name(".returns").unwrap();
        let returns = returns.relocations().map(|(_, relocation)| {
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                panic!("a relocation to no symbol");
            };
            let symbol = elf.symbol_by_index(symbol).unwrap();
            let address = symbol.address().wrapping_add_signed(relocation.addend());
            (symbol.section_index(), address)
        });
        let line = self.line("net/ipv4/gre.c", comment);
        place(&elf, returns.collect(), function, 0, " [gre]", line)
    }
}

/// The return address in the function of this name, of several the one with this number.
fn place(
    elf: &object::File<'_>,
    returns: Vec<(Option<object::SectionIndex>, u64)>,
    function: &str,
    number: usize,
    module: &str,
    line: String,
) -> Place {
    let mut functions = elf.symbols().filter(|symbol| symbol.name() == Ok(function));
    let symbol = functions.nth(number).unwrap();
    let start = symbol.address();
    let (_, address) = returns
        .into_iter()
        .filter(|(section, _)| section.is_none() || *section == symbol.section_index())
        .find(|(_, address)| (start..start + symbol.size()).contains(address))
        .unwrap();
    // What follows is aligned.
    let size = symbol.size().next_multiple_of(16);
    Place {
        address,
        symbol: format!("{function}+{:#x}/{size:#x}{module}", address - start),
        line,
    }
}
