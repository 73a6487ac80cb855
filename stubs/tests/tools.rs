//! Generated code as debuggers, profilers and backtraces see it: named by its key, and walked
//! through.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use fing_stubs::{
    Abi, Arch, CacheOptions, CodePart, CodePolicy, Family, GBlock, StubCache, StubKey,
};

unsafe extern "C" {
    fn _Unwind_Backtrace(
        visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        to: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn go_stop();
}

// A Go function of one integer that calls `stop_here` with it, on a stack aligned as C wants it.
std::arch::global_asm!(
    ".globl go_stop",
    ".type go_stop, @function",
    "go_stop:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "and rsp, -16",
    "mov rdi, rax",
    "call {stop}",
    "mov rsp, rbp",
    "pop rbp",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".size go_stop, . - go_stop",
    stop = sym stop_here,
);

thread_local! {
    /// The frames around the last call of `stop_here` in this thread: addresses, and as text.
    static SEEN: RefCell<(Vec<usize>, String)> = RefCell::default();
}

extern "C" fn visit(context: *mut c_void, to: *mut c_void) -> c_int {
    // SAFETY: I5: the unwinder's own context, and the vector that `stop_here` has on its stack.
    unsafe { (*to.cast::<Vec<usize>>()).push(_Unwind_GetIP(context)) };
    0
}

/// Where the calls of this file end up. gdb has a breakpoint on it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stop_here(number: i64) -> i64 {
    let mut frames: Vec<usize> = Vec::new();
    // SAFETY: I5: `visit` is called with the vector before this returns.
    unsafe { _Unwind_Backtrace(visit, (&raw mut frames).cast()) };
    let text = Backtrace::force_capture().to_string();
    SEEN.set((frames, text));
    number
}

fn is_go(abi: Abi) -> bool {
    abi.family() == Family::Go
}

/// The caller that a walk must reach.
#[inline(never)]
fn calls_by_a_stub(cache: &StubCache, signature: &str, abi: Abi) -> StubKey {
    let code = match is_go(abi) {
        true => go_stop as *const (),
        false => stop_here as *const (),
    };
    let stub = cache.call_stub(&signature.parse().unwrap(), abi).unwrap();
    let (argument, mut results) = ([5_i64; 4], [0_i64; 8]);
    // SAFETY: I8: both callees take an integer; no result is looked at but what they leave.
    unsafe {
        let to = results.as_mut_ptr().cast();
        stub.call(
            code.addr(),
            0,
            argument.as_ptr().cast(),
            to,
            &GBlock::zeroed(),
        )
        .unwrap();
    }
    std::hint::black_box(results);
    stub.stub().key().clone()
}

/// A C function, a Go function entered by a jump, one entered by a call, whose results the veneer
/// stores.
fn calls() -> [(&'static str, Abi, CodePart); 3] {
    [
        ("func(int) int", Abi::system_v(), CodePart::Stub),
        ("func(int)", Abi::go(Arch::Amd64), CodePart::Stub),
        ("func(int) int", Abi::go(Arch::Amd64), CodePart::Veneer),
    ]
}

#[test]
fn backtraces_walk_through_stubs_and_each_frame_is_found_by_its_address() {
    for tools in [false, true] {
        let (options, folder) = (CacheOptions::default().debugger(tools), Folder::new());
        let options = match tools {
            true => options.jitdump(&folder.0),
            false => options,
        };
        let cache = StubCache::new(options).unwrap();
        for (signature, abi, part) in calls() {
            let key = calls_by_a_stub(&cache, signature, abi);
            let (frames, text) = SEEN.take();
            assert!(text.contains("calls_by_a_stub"), "{key}:\n{text}");
            let found: Vec<_> = frames.iter().filter_map(|&at| cache.find(at)).collect();
            assert_eq!(found[0].part, part, "{key}");
            assert_eq!(found[0].keys, std::slice::from_ref(&key), "tools {tools}");
            // Behind it there is nothing but, for Go functions, the entrance.
            let entrances = usize::from(is_go(abi));
            assert_eq!(found.len(), 1 + entrances, "{key}: {found:?}");
            assert!(
                found[1..]
                    .iter()
                    .all(|code| code.part == CodePart::Entrance)
            );
        }
        assert_eq!(cache.stats().unnamed, 0);
    }
    let cache = StubCache::new(CacheOptions::default().policy(CodePolicy::Interpret)).unwrap();
    calls_by_a_stub(&cache, "func(int) int", Abi::system_v());
    let (frames, text) = SEEN.take();
    assert!(text.contains("calls_by_a_stub"), "{text}");
    assert!(frames.iter().all(|&at| cache.find(at).is_none()));
}

#[test]
fn no_address_outside_of_code_is_found() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let stub = cache
        .for_signature(&"func(*int)".parse().unwrap(), Abi::system_v())
        .unwrap();
    let entry = stub.entry().unwrap();
    let bytes = stub.code_bytes();
    assert_eq!(cache.find(entry).unwrap().keys, [stub.key().clone()]);
    let others = [
        0,
        1,
        entry - 1,
        entry + bytes,
        usize::MAX,
        stop_here as *const () as usize,
    ];
    for address in others {
        assert_eq!(cache.find(address), None, "{address:#x}");
    }
    drop(stub);
    assert_eq!(cache.trim(), 1);
    assert_eq!(cache.find(entry), None);
}

#[test]
fn stubs_with_one_veneer_are_all_found_by_it() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let go = Abi::go(Arch::Amd64);
    let keys = ["func(int) int", "func(int) int32"].map(|sig| calls_by_a_stub(&cache, sig, go));
    let (frames, _) = SEEN.take();
    let found = frames.iter().find_map(|&at| cache.find(at)).unwrap();
    assert_eq!(found.part, CodePart::Veneer);
    assert_eq!(found.keys.len(), 2, "{found:?}");
    assert!(keys.iter().all(|key| found.keys.contains(key)));
}

/// A directory that goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fing-tools-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn dump(&self) -> PathBuf {
        self.0.join(format!("jit-{}.dump", std::process::id()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Takes a number of 4 or 8 bytes from the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> u64 {
    let (number, rest) = bytes.split_at(N);
    *bytes = rest;
    number
        .iter()
        .rev()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The pieces of code in a file for perf: address, name, bytes. Checks all else that it says.
fn parse(mut file: &[u8]) -> Vec<(usize, String, Vec<u8>)> {
    let file = &mut file;
    // Magic number, version, bytes of the header, x86-64.
    let header: [u64; 4] = std::array::from_fn(|_| take::<4>(file));
    assert_eq!(header, [0x4a69_5444, 1, 40, 62]);
    let process = u64::from(std::process::id());
    assert_eq!([take::<4>(file), take::<4>(file)], [0, process]);
    let (mut last, mut pieces) = (take::<8>(file), Vec::new());
    assert_eq!(take::<8>(file), 0);
    loop {
        let (kind, bytes, time) = (take::<4>(file), take::<4>(file), take::<8>(file));
        assert!(last <= time);
        last = time;
        if kind == 3 {
            assert_eq!((bytes, file.len()), (16, 0));
            return pieces;
        }
        assert_eq!((kind, take::<4>(file)), (0, process));
        take::<4>(file);
        let [address, same, size, index]: [u64; 4] = std::array::from_fn(|_| take::<8>(file));
        assert_eq!((address, index), (same, pieces.len() as u64));
        let (text, rest) = file.split_at(bytes as usize - 56);
        let (name, code) = text.split_at(text.len() - size as usize);
        let name = std::str::from_utf8(name).unwrap().strip_suffix('\0');
        pieces.push((address as usize, name.unwrap().to_owned(), code.to_vec()));
        *file = rest;
    }
}

#[test]
fn the_file_for_perf_has_each_piece_of_code() {
    let folder = Folder::new();
    let cache = StubCache::new(CacheOptions::default().jitdump(&folder.0)).unwrap();
    let keys = calls().map(|(signature, abi, _)| calls_by_a_stub(&cache, signature, abi));
    let mut file = std::fs::read(folder.dump()).unwrap();
    // What the cache writes at its end.
    file.extend([3_u32, 16].map(u32::to_ne_bytes).concat());
    file.extend(u64::MAX.to_ne_bytes());
    let mut parts = [0; 3];
    for (start, name, code) in parse(&file) {
        let found = cache.find(start).unwrap();
        assert_eq!(cache.find(start + code.len() - 1).as_ref(), Some(&found));
        parts[found.part as usize] += 1;
        let expected = match found.part {
            CodePart::Stub => found.keys[0].to_string(),
            CodePart::Veneer => format!("{}:veneer", found.keys[0]),
            CodePart::Entrance => "fing-stubs:entrance".to_owned(),
        };
        assert_eq!(name, expected);
        assert!(found.keys.iter().all(|key| keys.contains(key)));
        // SAFETY: I5: published code of a cache that lives.
        let published = unsafe { std::slice::from_raw_parts(start as *const u8, code.len()) };
        assert_eq!(code, published);
    }
    assert_eq!(parts, [3, 2, 1]);
    drop(cache);
    assert_eq!(parse(&std::fs::read(folder.dump()).unwrap()).len(), 6);
}

/// A file that can't be made is an error, which names it.
#[test]
fn a_second_file_and_one_in_no_directory_are_refused() {
    let folder = Folder::new();
    let options = CacheOptions::default().jitdump(&folder.0);
    let first = StubCache::new(options.clone()).unwrap();
    for options in [
        options,
        CacheOptions::default().jitdump(folder.0.join("none")),
    ] {
        let error = StubCache::new(options).unwrap_err();
        assert!(error.is_environment(), "{error}");
        assert!(error.to_string().contains("dump failed"), "{error}");
    }
    drop(first);
}

/// What gdb runs: not a test by itself.
#[test]
#[ignore = "run by gdb, in the test below"]
fn stops() {
    let cache = StubCache::new(CacheOptions::default().debugger(true)).unwrap();
    for (signature, abi, _) in calls() {
        calls_by_a_stub(&cache, signature, abi);
    }
}

extern "C" fn does_nothing(_: usize) {}

/// What perf runs: a second or so of calls.
#[test]
#[ignore = "run by perf, in the test below"]
fn spins() {
    let folder = PathBuf::from(std::env::var_os("FING_JITDUMP").unwrap());
    let cache = StubCache::new(CacheOptions::default().jitdump(folder)).unwrap();
    let stub = cache
        .for_signature(&"func(*int)".parse().unwrap(), Abi::system_v())
        .unwrap();
    let record = fing_stubs::Record {
        code: does_nothing as *const () as usize,
        context: 0,
        words: [0; 2],
    };
    let records = vec![record; 100_000];
    for _ in 0..2000 {
        // SAFETY: I8: a C function of one word that looks at nothing.
        unsafe { stub.run_all(&records, &GBlock::zeroed()) };
    }
    println!("key={}", stub.key());
}

/// This test binary's child, under a program with arguments.
fn under(program: &Path, arguments: &[&str], child: &str, folder: &Folder) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            child,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("DEBUGINFOD_URLS", "")
        .env("FING_JITDUMP", &folder.0)
        .output()
        .unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    let _ = write!(text, "{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn gdb_names_stubs_by_their_keys_and_walks_through_them() {
    let Some(gdb) = fing_oracles::tool("gdb", "debugging stubs") else {
        return;
    };
    let script = "set pagination off\nset breakpoint pending on\nbreak stop_here\n\
                  commands\nsilent\nprintf \"walk\\n\"\nbt 12\ncontinue\nend\nrun\n";
    let folder = Folder::new();
    let file = folder.0.join("script");
    std::fs::write(&file, script).unwrap();
    let arguments = ["-nx", "-batch", "-x", file.to_str().unwrap(), "--args"];
    let text = under(&gdb, &arguments, "stops", &folder);
    let walks: Vec<&str> = text.split("walk\n").skip(1).collect();
    assert_eq!(walks.len(), 3, "{text}");
    for (walk, (signature, abi, part)) in walks.iter().zip(calls()) {
        let cache = StubCache::new(CacheOptions::default()).unwrap();
        let key = calls_by_a_stub(&cache, signature, abi);
        let name = match part {
            CodePart::Veneer => format!(" in {key}:veneer ()"),
            _ => format!(" in {key} ()"),
        };
        let stub = walk
            .find(&name)
            .unwrap_or_else(|| panic!("no {name} in\n{walk}"));
        assert!(
            walk[stub..].contains("calls_by_a_stub"),
            "not walked through:\n{walk}"
        );
        assert_eq!(walk.contains("fing-stubs:entrance"), is_go(abi), "{walk}");
    }
}

#[test]
fn perf_names_samples_in_stubs_where_it_may_record() {
    let Some(perf) = fing_oracles::tool("perf", "profiling stubs") else {
        return;
    };
    let folder = Folder::new();
    let [data, injected] = ["data", "injected"].map(|name| folder.0.join(name));
    let [data, injected] = [&data, &injected].map(|path| path.to_str().unwrap());
    // Time as the kernel's software clock counts it: virtual machines often have no other.
    let record = [
        "record",
        "-q",
        "-k",
        "1",
        "-e",
        "cpu-clock",
        "-g",
        "-o",
        data,
        "--",
    ];
    let text = under(&perf, &record, "spins", &folder);
    let key = text.split("key=").nth(1);
    let Some(key) = key.and_then(|rest| rest.split_whitespace().next()) else {
        return eprintln!("perf may not record here: test skipped\n{text}");
    };
    let run = |arguments: &[&str]| {
        let output = Command::new(&perf).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8_lossy(&output.stdout).into_owned(), error)
    };
    let (_, error) = run(&["inject", "--jit", "-i", data, "-o", injected]);
    let (samples, _) = run(&["script", "-F", "ip,sym", "-i", injected]);
    let in_stub = samples.lines().filter(|line| line.contains(key)).count();
    assert!(
        in_stub > 0,
        "no {key} in {} lines\n{error}",
        samples.lines().count()
    );
}
