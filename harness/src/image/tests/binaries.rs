//! Which binaries can be an image's only file.

use std::io::Cursor;

use object::{BigEndian, LittleEndian, elf};

use super::program::{Program, dynamic};
use crate::image::elf::{Kind, Platform, Unfit, examine as examine_file};

fn examine(bytes: &[u8]) -> Result<Platform, Unfit> {
    examine_file(Cursor::new(bytes))
}

/// What the platform is called, or what is wrong.
fn architecture(bytes: &[u8]) -> Result<&'static str, Unfit> {
    examine(bytes).map(|platform| platform.architecture)
}

#[test]
fn static_programs_fit_and_their_platform_is_told() {
    let fixed = Program::fixed;
    let mut pie = fixed().with(elf::PT_DYNAMIC, &dynamic(&[elf::DT_RELA, elf::DT_NULL]));
    pie.kind = elf::ET_DYN;
    let rows = [
        ("fixed addresses", fixed().little(), "amd64"),
        ("static-pie: a dynamic section that names no library", pie.little(), "amd64"),
        (
            "what follows the end of the dynamic section does not count",
            fixed().with(elf::PT_DYNAMIC, &dynamic(&[elf::DT_NULL, elf::DT_NEEDED])).little(),
            "amd64",
        ),
        ("arm", fixed().of(elf::EM_AARCH64).little(), "arm64"),
        ("risc-v", fixed().of(elf::EM_RISCV).little(), "riscv64"),
        ("big-endian", fixed().of(elf::EM_S390).bytes(BigEndian), "s390x"),
    ];
    for (what, bytes, expected) in rows {
        assert_eq!(architecture(&bytes), Ok(expected), "{what}");
    }
}

#[test]
fn files_that_are_no_elf_file_are_called_what_they_are() {
    let rows: [(&[u8], Kind); 7] = [
        (b"", Kind::Empty),
        (b"#!/bin/sh\nexit 0\n", Kind::Script),
        (b"kind: Cluster\n", Kind::Other),
        (b"\x7fEL", Kind::Other),
        (b"MZ\x90\0\x03", Kind::Pe),
        (b"\xcf\xfa\xed\xfe\x0c\0\0\x01", Kind::MachO),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", Kind::MachO),
    ];
    for (bytes, kind) in rows {
        assert_eq!(examine(bytes), Err(Unfit::NotElf(kind)), "{bytes:?}");
    }
}

#[test]
fn what_needs_more_than_itself_is_refused_with_what_it_needs() {
    let loader = Program::fixed().with(elf::PT_INTERP, b"/lib/ld.so.1\0");
    let tags = [elf::DT_NEEDED, elf::DT_STRTAB, elf::DT_NEEDED, elf::DT_NULL];
    let libraries = Program::fixed().with(elf::PT_DYNAMIC, &dynamic(&tags));
    let rows = [
        (loader.of(elf::EM_AARCH64), "loader /lib/ld.so.1", "aarch64-unknown-linux-gnu"),
        (libraries, "shared libraries: 2", "x86_64-unknown-linux-gnu"),
    ];
    for (program, expected, triple) in rows {
        let fault = examine(&program.little()).expect_err("refused");
        let Unfit::Dynamic { needs, .. } = &fault else { panic!("{fault}") };
        assert_eq!(needs, expected);
        let command = format!(
            "RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target {triple}"
        );
        assert!(fault.advice().contains(&command), "{}", fault.advice());
    }
}

#[test]
fn elf_files_that_linux_would_not_run_are_refused() {
    let fixed = Program::fixed;
    let mut object = fixed();
    object.kind = elf::ET_REL;
    let mut library = fixed();
    (library.kind, library.entry) = (elf::ET_DYN, 0);
    let mut bsd = fixed().little();
    bsd[7] = elf::ELFOSABI_FREEBSD.0;
    let mut classless = fixed().little();
    classless[4] = 9;
    let mut future = fixed().little();
    future[6] = 2;
    let mut odd_table = fixed().little();
    odd_table[54] = 55;
    let mut nothing_loaded = fixed();
    nothing_loaded.segments.clear();
    let odd_dynamic = fixed().with(elf::PT_DYNAMIC, b"seven b");
    let rows = [
        ("an object file", object.little(), "no entry point"),
        ("a library", library.little(), "no entry point"),
        ("FreeBSD", bsd, "another system than Linux (ELF OS ABI 9)"),
        ("Alpha", fixed().of(elf::Machine(0x9026)).little(), "ELF machine 36902"),
        ("big-endian x86", fixed().bytes(BigEndian), "ELF machine 62"),
        ("no class", classless, "neither of 32 nor of 64 bits"),
        ("a version to come", future, "an unknown version"),
        ("an odd size of segment headers", odd_table, "table of segments"),
        ("nothing to load", nothing_loaded.little(), "nothing would be loaded"),
        ("half an entry", odd_dynamic.little(), "dynamic section"),
    ];
    for (what, bytes, expected) in rows {
        let fault = examine(&bytes).expect_err(what);
        assert!(fault.to_string().contains(expected), "{what}: {fault}");
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused() {
    let whole =
        Program::fixed().with(elf::PT_DYNAMIC, &dynamic(&[elf::DT_NULL])).bytes(LittleEndian);
    assert_eq!(architecture(&whole), Ok("amd64"));
    for length in 4..whole.len() {
        let fault = examine(&whole[..length]).expect_err("cut");
        let is_told = matches!(fault, Unfit::CutOff { length: told, needed }
            if told == length as u64 && needed > told && needed <= whole.len() as u64);
        assert!(is_told, "cut at {length}: {fault}");
    }
}

#[test]
fn hostile_offsets_neither_panic_nor_pass() {
    let whole = Program::fixed().with(elf::PT_DYNAMIC, &dynamic(&[elf::DT_NULL])).little();
    // The fields of 8 bytes that are offsets and sizes: of both tables, and of the first segment.
    for at in [32, 40, 64 + 8, 64 + 32] {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        let fault = examine(&bytes).expect_err("refused");
        assert!(matches!(fault, Unfit::CutOff { .. }), "at {at}: {fault}");
    }
}
