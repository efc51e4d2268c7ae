//! Names of functions by address, for crash reports: read from this program's own symbol table.
//!
//! The file is mapped at the start, so that names are right after an upgrade has replaced it, and looking a name up
//! neither allocates nor locks.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::OnceLock;

/// The parts of the program's ELF file that names come from.
struct Symbols {
    /// Entries of `ENTRY_BYTES` each.
    table: &'static [u8],
    /// Names, each ended by a zero byte.
    names: &'static [u8],
    /// Address at run time minus address in the file.
    bias: usize,
}

static SYMBOLS: OnceLock<Option<Symbols>> = OnceLock::new();

/// Bytes of an entry of a 64-bit symbol table: name u32, kind u8, other u8, section u16, address u64, size u64.
const ENTRY_BYTES: usize = 24;
/// Bytes of a section's header: name u32, kind u32, flags u64, address u64, offset u64, size u64, link u32, …
const SECTION_BYTES: usize = 64;
const SECTION_IS_SYMBOL_TABLE: u32 = 2;
const SYMBOL_IS_FUNCTION: u8 = 2;

/// Maps the table. Without one (stripped, another format) addresses keep their numbers only.
pub fn load() {
    SYMBOLS.get_or_init(|| {
        let file = std::fs::File::open("/proc/self/exe").ok()?;
        parse(map(&file)?)
    });
}

/// Maps a file for reading, for good.
fn map(file: &std::fs::File) -> Option<&'static [u8]> {
    use std::os::fd::AsRawFd;
    let bytes = usize::try_from(file.metadata().ok()?.len()).ok()?;
    // SAFETY: a new private mapping of a file; nobody writes to a program that runs (the system refuses it).
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        );
        match at {
            libc::MAP_FAILED => None,
            at => Some(std::slice::from_raw_parts(at.cast(), bytes)),
        }
    }
}

fn parse(elf: &'static [u8]) -> Option<Symbols> {
    if !cfg!(target_pointer_width = "64") || !elf.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let part = |header: &[u8]| -> Option<&'static [u8]> {
        let (offset, bytes) = (number::<8>(header, 24)?, number::<8>(header, 32)?);
        elf.get(offset..offset.checked_add(bytes)?)
    };
    let sections = elf.get(number::<8>(elf, 40)?..)?;
    let mut headers = sections
        .chunks_exact(SECTION_BYTES)
        .take(number::<2>(elf, 60)?);
    let header =
        headers.find(|header| number::<4>(header, 4) == Some(SECTION_IS_SYMBOL_TABLE as usize))?;
    let names = sections
        .chunks_exact(SECTION_BYTES)
        .nth(number::<4>(header, 40)?)?;
    Some(Symbols {
        table: part(header)?,
        names: part(names)?,
        bias: bias(),
    })
}

/// A little-endian number of `N` bytes.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    let value = bytes
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}

/// How far from the addresses in its file this program was loaded: by where the kernel says its program headers are.
fn bias() -> usize {
    // SAFETY: the kernel hands every program the address and number of its program headers.
    unsafe {
        let start = libc::getauxval(libc::AT_PHDR) as usize;
        let count = libc::getauxval(libc::AT_PHNUM) as usize;
        if start == 0 {
            return 0;
        }
        let headers = std::slice::from_raw_parts(start as *const libc::Elf64_Phdr, count);
        let own = headers.iter().find(|header| header.p_type == libc::PT_PHDR);
        own.map_or(0, |header| start.wrapping_sub(header.p_vaddr as usize))
    }
}

/// A function of this program.
#[derive(Clone, Copy)]
pub struct Function {
    /// Its name, as the compiler wrote it.
    name: &'static str,
    /// Where it starts.
    pub start: usize,
}

impl fmt::Display for Function {
    /// The name as it stands in the source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", rustc_demangle::demangle(self.name))
    }
}

/// The function that `address` lies in. Neither allocates nor locks.
pub fn function_at(address: usize) -> Option<Function> {
    let symbols = SYMBOLS.get()?.as_ref()?;
    let wanted = address.wrapping_sub(symbols.bias);
    symbols.table.chunks_exact(ENTRY_BYTES).find_map(|entry| {
        let (start, bytes) = (number::<8>(entry, 8)?, number::<8>(entry, 16)?);
        let is_function = entry.get(4)? & 0xf == SYMBOL_IS_FUNCTION;
        if !is_function || wanted.wrapping_sub(start) >= bytes {
            return None;
        }
        let name = symbols.names.get(number::<4>(entry, 0)?..)?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some(Function {
            name: std::str::from_utf8(name).ok()?,
            start: start.wrapping_add(symbols.bias),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn found_by_its_address() {}

    #[test]
    fn a_function_has_its_name() {
        load();
        let address = found_by_its_address as fn() as usize;
        let function = function_at(address).expect("this program has symbols");
        assert_eq!(function.start, address);
        let name = function.to_string();
        assert!(name.ends_with("::found_by_its_address"), "{name}");
        assert!(function_at(8).is_none());
    }

    #[test]
    fn other_files_have_no_names() {
        assert!(parse(b"").is_none());
        assert!(parse(b"\x7fELF\x02").is_none());
        let mut elf = vec![0xff; 200];
        elf[..5].copy_from_slice(b"\x7fELF\x02");
        assert!(parse(elf.leak()).is_none());
    }
}
