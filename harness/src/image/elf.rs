//! Can this file be the only program of a container? Read from its ELF headers.

use std::{
    fmt,
    io::{Read, Seek},
};

use object::{
    Endianness, FileKind, elf,
    read::{
        ReadCache, ReadRef,
        elf::{Dyn as _, FileHeader, ProgramHeader as _},
    },
};

/// The most entries of a dynamic section that are looked at; programs have some dozens.
const DYNAMIC_ENTRIES_MAX: usize = 100_000;

/// A system that a binary is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The processor, in the words of image configurations (those of Go).
    pub architecture: &'static str,
    /// The target that Rust builds for it by default.
    pub triple: &'static str,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)
    }
}

/// A processor as ELF tells it (machine, 64 bits, little-endian), and the platform.
///
/// Sources: the gABI's `e_machine` values; `GOARCH` for the names, which the OCI image
/// specification prescribes.
const PLATFORMS: [((elf::Machine, bool, bool), Platform); 8] = [
    ((elf::EM_X86_64, true, true), platform("amd64", "x86_64-unknown-linux-gnu")),
    ((elf::EM_AARCH64, true, true), platform("arm64", "aarch64-unknown-linux-gnu")),
    ((elf::EM_386, false, true), platform("386", "i686-unknown-linux-gnu")),
    ((elf::EM_ARM, false, true), platform("arm", "armv7-unknown-linux-gnueabihf")),
    ((elf::EM_RISCV, true, true), platform("riscv64", "riscv64gc-unknown-linux-gnu")),
    ((elf::EM_PPC64, true, true), platform("ppc64le", "powerpc64le-unknown-linux-gnu")),
    ((elf::EM_S390, true, false), platform("s390x", "s390x-unknown-linux-gnu")),
    ((elf::EM_LOONGARCH, true, true), platform("loong64", "loongarch64-unknown-linux-gnu")),
];

const fn platform(architecture: &'static str, triple: &'static str) -> Platform {
    Platform { architecture, triple }
}

/// Why a file cannot be the only program of a container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A folder, a device, a pipe.
    #[error("it is not a plain file")]
    NotAFile,
    /// Something that Linux does not run as a binary.
    #[error("it is {0}, and not a Linux binary")]
    NotElf(Kind),
    /// The file ends before what its headers promise.
    #[error("it is cut off: {length} bytes where its headers need {needed}")]
    CutOff {
        /// The file's length, bytes.
        length: u64,
        /// The least length that the headers ask for, bytes.
        needed: u64,
    },
    /// Headers that contradict themselves.
    #[error("its ELF headers make no sense: {0}")]
    Malformed(&'static str),
    /// An object file, a core dump, a library without an entry point.
    #[error("it is an ELF file, but not a program: it has no entry point")]
    NotAProgram,
    /// ELF for another system.
    #[error("it is for another system than Linux (ELF OS ABI {0})")]
    OtherSystem(u8),
    /// A processor that has no name in image configurations, or is not known here.
    #[error("no image can be made for its processor (ELF machine {0})")]
    Processor(u16),
    /// It needs a loader or libraries that the image does not have.
    #[error("it is dynamically linked ({needs}), and the image holds nothing but this binary")]
    Dynamic {
        /// What it needs.
        needs: String,
        /// What it is for.
        platform: Platform,
    },
}

impl Unfit {
    /// What to do about it; never empty.
    pub fn advice(&self) -> String {
        let triple = match self {
            Self::Dynamic { platform, .. } => platform.triple,
            _ => default_triple(),
        };
        format!(
            "build a static one on Linux, and give it with --binary:\n  \
             RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target {triple}\n  \
             highwater image --binary target/{triple}/release/highwater"
        )
    }
}

/// What a file is that is no ELF file, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No bytes at all.
    Empty,
    /// `#!`
    Script,
    /// A program for macOS.
    MachO,
    /// A program for Windows.
    Pe,
    /// Anything else.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::Script => "a script",
            Self::MachO => "a macOS binary",
            Self::Pe => "a Windows binary",
            Self::Other => "some other file",
        })
    }
}

/// The triple of this build's processor.
fn default_triple() -> &'static str {
    let here = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let found = PLATFORMS.iter().find(|(_, platform)| platform.architecture == here);
    found.expect("both are in the table").1.triple
}

/// The platform of a static Linux program.
///
/// Only headers are read, however long the file is. A static position-independent program is fine:
/// it has a dynamic section for its own relocations, but names no loader and no library.
///
/// # Errors
/// What keeps it from running alone. A file that cannot be read counts as malformed.
pub(super) fn examine(mut file: impl Read + Seek) -> Result<Platform, Unfit> {
    let mut start = Vec::with_capacity(16);
    let read = file.rewind().and_then(|()| (&mut file).take(16).read_to_end(&mut start));
    read.map_err(|_| Unfit::Malformed("they cannot be read"))?;
    if !start.starts_with(&elf::ELFMAG) {
        return Err(Unfit::NotElf(kind(&start)));
    }
    let data = ReadCache::new(file);
    let length = data_length(&data)?;
    match FileKind::parse(&data) {
        Ok(FileKind::Elf64) => headers::<elf::FileHeader64<Endianness>, _>(&data, length),
        Ok(FileKind::Elf32) => headers::<elf::FileHeader32<Endianness>, _>(&data, length),
        // The shortest header is that of 32 bits.
        _ if length < 52 => Err(Unfit::CutOff { length, needed: 52 }),
        _ => Err(Unfit::Malformed("neither of 32 nor of 64 bits")),
    }
}

fn data_length<'data>(data: impl ReadRef<'data>) -> Result<u64, Unfit> {
    data.len().map_err(|()| Unfit::Malformed("the file's length cannot be told"))
}

fn kind(start: &[u8]) -> Kind {
    // Mach-O: the magic numbers of 32 and 64 bits in either order, and that of universal binaries.
    const MACH_O: [[u8; 4]; 5] = [
        [0xfe, 0xed, 0xfa, 0xce],
        [0xfe, 0xed, 0xfa, 0xcf],
        [0xce, 0xfa, 0xed, 0xfe],
        [0xcf, 0xfa, 0xed, 0xfe],
        [0xca, 0xfe, 0xba, 0xbe],
    ];
    match start {
        [] => Kind::Empty,
        [b'#', b'!', ..] => Kind::Script,
        [b'M', b'Z', ..] => Kind::Pe,
        _ if MACH_O.iter().any(|magic| start.starts_with(magic)) => Kind::MachO,
        _ => Kind::Other,
    }
}

fn headers<'data, Elf, R>(data: R, length: u64) -> Result<Platform, Unfit>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let needs = |needed: u64| match length < needed {
        true => Err(Unfit::CutOff { length, needed }),
        false => Ok(()),
    };
    needs(size_of::<Elf>() as u64)?;
    let header = Elf::parse(data).map_err(|_| Unfit::Malformed("an unknown version"))?;
    let endian = header.endian().map_err(|_| Unfit::Malformed("an unknown byte order"))?;
    let system = header.e_ident().os_abi;
    if ![elf::ELFOSABI_SYSV, elf::ELFOSABI_LINUX].contains(&system) {
        return Err(Unfit::OtherSystem(system.0));
    }
    let kind = header.e_type(endian);
    let entry: u64 = header.e_entry(endian).into();
    if ![elf::ET_EXEC, elf::ET_DYN].contains(&kind) || entry == 0 {
        return Err(Unfit::NotAProgram);
    }
    let table = |offset: u64, entry: u16, count: u16| match offset {
        0 => 0,
        _ => offset.saturating_add(u64::from(entry) * u64::from(count)),
    };
    needs(table(
        header.e_phoff(endian).into(),
        header.e_phentsize(endian),
        header.e_phnum(endian),
    ))?;
    // The sections' table is not needed to run, but it comes last: it tells that nothing is missing.
    needs(table(
        header.e_shoff(endian).into(),
        header.e_shentsize(endian),
        header.e_shnum(endian),
    ))?;
    let platform = platform_of(header, endian)?;
    let segments = header
        .program_headers(endian, data)
        .map_err(|_| Unfit::Malformed("the table of segments is broken"))?;
    for segment in segments {
        let (offset, size) = segment.file_range(endian);
        needs(offset.saturating_add(size))?;
    }
    if !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_LOAD) {
        return Err(Unfit::Malformed("nothing would be loaded"));
    }
    match dependence::<Elf, R>(segments, endian, data)? {
        Some(needs) => Err(Unfit::Dynamic { needs, platform }),
        None => Ok(platform),
    }
}

fn platform_of<Elf: FileHeader<Endian = Endianness>>(
    header: &Elf,
    endian: Endianness,
) -> Result<Platform, Unfit> {
    let machine = header.e_machine(endian);
    let found = (machine, header.is_type_64(), header.is_little_endian());
    PLATFORMS
        .iter()
        .find(|(known, _)| *known == found)
        .map(|(_, platform)| *platform)
        .ok_or(Unfit::Processor(machine.0))
}

/// What the program needs beside itself, if anything.
fn dependence<'data, Elf, R>(
    segments: &'data [Elf::ProgramHeader],
    endian: Endianness,
    data: R,
) -> Result<Option<String>, Unfit>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    for segment in segments {
        let name = segment.interpreter(endian, data);
        if let Some(name) = name.map_err(|_| Unfit::Malformed("the loader's name is broken"))? {
            return Ok(Some(format!("loader {}", String::from_utf8_lossy(name))));
        }
    }
    for segment in segments {
        let entries = segment.dynamic(endian, data);
        let entries = entries.map_err(|_| Unfit::Malformed("the dynamic section is broken"))?;
        let libraries = entries
            .unwrap_or_default()
            .iter()
            .take(DYNAMIC_ENTRIES_MAX)
            .map(|entry| entry.d_tag(endian))
            .take_while(|&tag| tag != elf::DT_NULL)
            .filter(|&tag| tag == elf::DT_NEEDED)
            .count();
        if libraries > 0 {
            return Ok(Some(format!("shared libraries: {libraries}")));
        }
    }
    Ok(None)
}
