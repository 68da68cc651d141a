//! Hand-made ELF files.

use object::{
    Endian, LittleEndian,
    elf::{self, FileHeader64, Machine, ProgramHeader64, ProgramType},
    endian::{I64, U16, U32, U64},
    pod::bytes_of,
};

/// A program of 64 bits with these segments, in this order; the content of a segment follows.
pub(super) struct Program {
    pub(super) machine: Machine,
    pub(super) kind: elf::FileType,
    pub(super) entry: u64,
    pub(super) segments: Vec<(ProgramType, Vec<u8>)>,
}

impl Program {
    /// A static program of x86-64.
    pub(super) fn fixed() -> Self {
        let segments = vec![(elf::PT_LOAD, b"some code".to_vec())];
        Self { machine: elf::EM_X86_64, kind: elf::ET_EXEC, entry: 0x40_1000, segments }
    }

    pub(super) fn with(mut self, kind: ProgramType, content: &[u8]) -> Self {
        self.segments.push((kind, content.to_vec()));
        self
    }

    pub(super) fn of(mut self, machine: Machine) -> Self {
        self.machine = machine;
        self
    }

    pub(super) fn little(&self) -> Vec<u8> {
        self.bytes(LittleEndian)
    }

    pub(super) fn bytes<E: Endian>(&self, e: E) -> Vec<u8> {
        let (header_bytes, segment_bytes) = (64, 56);
        let count = self.segments.len() as u64;
        let content_at = header_bytes + segment_bytes * count;
        let content_bytes: u64 = self.segments.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let header = FileHeader64 {
            e_ident: elf::Ident {
                magic: elf::ELFMAG,
                class: elf::ELFCLASS64,
                data: if e.is_big_endian() { elf::ELFDATA2MSB } else { elf::ELFDATA2LSB },
                version: elf::EV_CURRENT,
                os_abi: elf::ELFOSABI_SYSV,
                abi_version: 0,
                padding: [0; 7],
            },
            e_type: U16::new(e, self.kind),
            e_machine: U16::new(e, self.machine),
            e_version: U32::new(e, 1),
            e_entry: U64::new(e, self.entry),
            e_phoff: U64::new(e, header_bytes),
            // One section header, at the end, as linkers place them.
            e_shoff: U64::new(e, content_at + content_bytes),
            e_flags: U32::new(e, elf::FileFlags(0)),
            e_ehsize: U16::new(e, header_bytes as u16),
            e_phentsize: U16::new(e, segment_bytes as u16),
            e_phnum: U16::new(e, count as u16),
            e_shentsize: U16::new(e, 64),
            e_shnum: U16::new(e, 1),
            e_shstrndx: U16::new(e, elf::SymbolSection(0)),
        };
        let mut bytes = bytes_of(&header).to_vec();
        let mut at = content_at;
        for (kind, content) in &self.segments {
            let size = U64::new(e, content.len() as u64);
            bytes.extend(bytes_of(&ProgramHeader64 {
                p_type: U32::new(e, *kind),
                p_flags: U32::new(e, elf::PF_R),
                p_offset: U64::new(e, at),
                p_vaddr: U64::new(e, 0x40_0000 + at),
                p_paddr: U64::new(e, 0),
                p_filesz: size,
                p_memsz: size,
                p_align: U64::new(e, 1),
            }));
            at += content.len() as u64;
        }
        bytes.extend(self.segments.iter().flat_map(|(_, content)| content));
        bytes.extend([0; 64]);
        bytes
    }
}

/// A dynamic section with these tags.
pub(super) fn dynamic(tags: &[elf::DynamicTag]) -> Vec<u8> {
    let entry =
        |&tag| elf::Dyn64 { d_tag: I64::new(LittleEndian, tag), d_val: U64::new(LittleEndian, 1) };
    tags.iter().map(entry).flat_map(|entry| bytes_of(&entry).to_vec()).collect()
}
