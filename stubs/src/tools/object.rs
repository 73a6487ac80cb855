//! An ELF object file for one piece of code: a symbol, and what unwinds its frames.
#![forbid(unsafe_code)]

use super::Code;
use crate::Arch;
use crate::host::IS_BIG_ENDIAN;

/// Numbers of ELF, by their names there.
mod elf {
    pub(super) const EM_S390: u16 = 22;
    pub(super) const EM_X86_64: u16 = 62;
    pub(super) const EM_AARCH64: u16 = 183;
    pub(super) const EM_RISCV: u16 = 243;
    /// Compressed instructions, floats passed in registers of 64 bits.
    pub(super) const RISCV_FLAGS: u32 = 1 | 4;
    pub(super) const ET_REL: u16 = 1;
    pub(super) const SHT_PROGBITS: u32 = 1;
    pub(super) const SHT_SYMTAB: u32 = 2;
    pub(super) const SHT_STRTAB: u32 = 3;
    pub(super) const SHT_NOBITS: u32 = 8;
    pub(super) const SHF_ALLOC_EXECINSTR: u64 = 2 | 4;
    /// Global, a function.
    pub(super) const GLOBAL_FUNC: u8 = 1 << 4 | 2;
    pub(super) const EHDR: usize = 64;
    pub(super) const SHDR: u16 = 64;
    pub(super) const SYM: u64 = 24;
}

/// Bytes in the order of this machine.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn half(&mut self, value: u16) -> &mut Bytes {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn word(&mut self, value: u32) -> &mut Bytes {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn xword(&mut self, value: u64) -> &mut Bytes {
        self.0.extend(value.to_ne_bytes());
        self
    }
}

/// A section's header and its bytes.
#[derive(Default)]
struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    address: u64,
    /// Its own number of bytes if it has none in the file.
    size: u64,
    bytes: Vec<u8>,
    link: u32,
    info: u32,
    entry: u64,
}

/// The section with the names, and the one with the code.
const STRTAB: u32 = 2;
const TEXT: u16 = 1;

/// ELF's number of a machine, and the flags of its files.
pub(super) fn machine(arch: Arch) -> Option<(u16, u32)> {
    match arch {
        Arch::Amd64 => Some((elf::EM_X86_64, 0)),
        Arch::Arm64 => Some((elf::EM_AARCH64, 0)),
        Arch::Riscv64 => Some((elf::EM_RISCV, elf::RISCV_FLAGS)),
        Arch::S390x => Some((elf::EM_S390, 0)),
        _ => None,
    }
}

/// A relocatable object whose one code section lies at the code's address and has no bytes: the
/// debugger reads the process's.
pub(super) fn object(
    arch: Arch,
    code: &Code<'_>,
    debug_frame: Option<&[u8]>,
) -> Result<Box<[u8]>, String> {
    let (machine, flags) = machine(arch).ok_or_else(|| format!("no ELF machine for {arch}"))?;
    let mut symbols = Bytes(vec![0; elf::SYM as usize]);
    // The symbol's name is the first in the table of names, behind the empty one.
    symbols.word(1);
    symbols.0.extend([elf::GLOBAL_FUNC, 0]);
    symbols.half(TEXT).xword(0).xword(code.bytes as u64);
    let mut sections = vec![
        Section::default(),
        Section {
            name: ".text",
            kind: elf::SHT_NOBITS,
            flags: elf::SHF_ALLOC_EXECINSTR,
            address: code.address as u64,
            size: code.bytes as u64,
            ..Section::default()
        },
        Section {
            name: ".strtab",
            kind: elf::SHT_STRTAB,
            ..Section::default()
        },
        Section {
            name: ".symtab",
            kind: elf::SHT_SYMTAB,
            bytes: symbols.0,
            link: STRTAB,
            // The first symbol that is not local.
            info: 1,
            entry: elf::SYM,
            ..Section::default()
        },
    ];
    sections.extend(debug_frame.map(|bytes| Section {
        name: ".debug_frame",
        kind: elf::SHT_PROGBITS,
        bytes: bytes.to_vec(),
        ..Section::default()
    }));
    Ok(file(machine, flags, code.name, sections))
}

fn file(machine: u16, flags: u32, symbol: &str, mut sections: Vec<Section>) -> Box<[u8]> {
    let mut names = vec![0];
    let mut name = |text: &str| {
        let at = names.len() as u32;
        names.extend(text.as_bytes());
        names.push(0);
        at
    };
    name(symbol);
    let offsets: Vec<u32> = sections
        .iter()
        .map(|section| match section.name {
            "" => 0,
            own => name(own),
        })
        .collect();
    sections[STRTAB as usize].bytes = names;
    let mut file = Bytes::default();
    let data: usize = sections
        .iter()
        .map(|section| section.bytes.len().next_multiple_of(8))
        .sum();
    let (class_64, version) = (2, 1);
    let order = if IS_BIG_ENDIAN { 2 } else { 1 };
    file.0.extend(b"\x7fELF");
    file.0.extend([class_64, order, version]);
    file.0.resize(16, 0);
    file.half(elf::ET_REL).half(machine).word(1);
    // No entry point, no program headers; section headers behind the data.
    file.xword(0).xword(0).xword((elf::EHDR + data) as u64);
    file.word(flags).half(elf::EHDR as u16).half(0).half(0);
    file.half(elf::SHDR).half(sections.len() as u16);
    file.half(STRTAB as u16);
    let mut headers = Bytes::default();
    for (section, name) in sections.iter().zip(offsets) {
        let size = section.size.max(section.bytes.len() as u64);
        headers.word(name).word(section.kind).xword(section.flags);
        headers.xword(section.address).xword(file.0.len() as u64);
        headers.xword(size).word(section.link).word(section.info);
        headers.xword(1).xword(section.entry);
        file.0.extend(&section.bytes);
        file.0.resize(file.0.len().next_multiple_of(8), 0);
    }
    file.0.extend(headers.0);
    file.0.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use object::{Object, ObjectSection, ObjectSymbol};

    use super::*;

    #[test]
    fn another_reader_finds_symbol_and_frames() {
        let code = Code {
            address: 0x7000_1230,
            bytes: 77,
            name: "go/amd64;8@0>i0",
            frames: None,
        };
        let frames = [1, 2, 3];
        let arch = Arch::host().unwrap();
        let bytes = super::object(arch, &code, Some(&frames)).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let symbol = file.symbols().next().unwrap();
        assert_eq!(symbol.name(), Ok("go/amd64;8@0>i0"));
        assert_eq!((symbol.size(), symbol.is_definition()), (77, true));
        let text = file.section_by_name(".text").unwrap();
        assert_eq!((text.address(), text.size()), (0x7000_1230, 77));
        assert_eq!(symbol.section_index(), Some(text.index()));
        let section = file.section_by_name(".debug_frame").unwrap();
        assert_eq!(section.data(), Ok(&frames[..]));
        assert!(super::object(Arch::Pulley64, &code, None).is_err());
        let bytes = super::object(arch, &code, None).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        assert!(file.section_by_name(".debug_frame").is_none());
    }
}
