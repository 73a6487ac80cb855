//! Seeded random types, signatures and ABIs, for tests, fuzz targets and oracles. Not part of the
//! stable API.
//!
//! The same seed gives the same values on every machine, so a failure is named by a number.
#![forbid(unsafe_code)]

mod c;

pub use c::{c_signature, c_type};

use crate::abi::{Abi, Aggregates, Arch, Convention, NativeConvention};
use crate::signature::{ChanDir, Field, FuncType, Method, Signature, Type, TypeError};
use crate::{Compiler, KeyOptions, StubError, StubKey};

/// A splitmix64 generator, after some given bytes if there are any.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
    bytes: std::collections::VecDeque<u8>,
}

impl Rng {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng {
            state: seed,
            bytes: Default::default(),
        }
    }

    /// A generator whose first choices are these bytes, one each: a fuzzer that changes a byte
    /// changes a choice.
    pub fn from_bytes(bytes: &[u8]) -> Rng {
        Rng {
            state: bytes.len() as u64,
            bytes: bytes.iter().copied().collect(),
        }
    }

    /// Next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        if let Some(byte) = self.bytes.pop_front() {
            return byte.into();
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            0
        } else {
            (self.next_u64() % n as u64) as usize
        }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

const BASICS: [fn() -> Type; 18] = [
    Type::bool,
    Type::int,
    Type::int8,
    Type::int16,
    Type::int32,
    Type::int64,
    Type::uint,
    Type::uint8,
    Type::uint16,
    Type::uint32,
    Type::uint64,
    Type::uintptr,
    Type::float32,
    Type::float64,
    Type::complex64,
    Type::complex128,
    Type::string,
    Type::unsafe_pointer,
];

/// The basic types that are one scalar.
const SCALARS: usize = 14;

/// A random type, at most about `depth` deep.
pub fn random_type(rng: &mut Rng, depth: u32) -> Type {
    // The generator stays far below every limit; the fallback keeps it total.
    try_type(rng, depth).unwrap_or_else(|_| Type::int())
}

fn try_type(rng: &mut Rng, depth: u32) -> Result<Type, TypeError> {
    if depth <= 1 || rng.one_in(2) {
        return Ok(match rng.below(12) {
            0 => Type::empty_interface(),
            1 => Type::error(),
            _ => rng.pick(&BASICS)(),
        });
    }
    let inner = |rng: &mut Rng| random_type(rng, depth - 1);
    match rng.below(12) {
        0 | 1 => Type::pointer_to(inner(rng)),
        2 => Type::slice(inner(rng)),
        3 | 4 => {
            let len = *rng.pick(&[0, 1, 1, 1, 2, 3, 5]);
            Type::array(len, inner(rng))
        }
        5 => {
            let key = inner(rng);
            let key = if key.is_comparable() {
                key
            } else {
                Type::string()
            };
            Type::map(key, inner(rng))
        }
        6 => {
            let dir = *rng.pick(&[ChanDir::Both, ChanDir::Receive, ChanDir::Send]);
            Type::chan(dir, inner(rng))
        }
        7 => {
            let func = func_type(rng, depth - 1);
            Type::func(func.params, func.results, func.variadic)
        }
        8 => {
            let methods =
                (0..rng.below(3)).map(|i| Method::new(["M", "N"][i], func_type(rng, depth - 1)));
            Type::interface(methods.collect())
        }
        _ => {
            let field = |i: usize, rng: &mut Rng| {
                let name = if rng.one_in(6) {
                    "_".into()
                } else {
                    char::from(b'A' + i as u8).to_string()
                };
                Field::new(&name, inner(rng))
            };
            let fields = (0..rng.below(5)).map(|i| field(i, rng)).collect();
            Type::structure(fields)
        }
    }
}

fn func_type(rng: &mut Rng, depth: u32) -> FuncType {
    let types =
        |rng: &mut Rng, n: usize| (0..n).map(|_| random_type(rng, depth)).collect::<Vec<_>>();
    let count = rng.below(3);
    let mut params = types(rng, count);
    let count = rng.below(3);
    let results = types(rng, count);
    let slice = Type::slice(Type::string());
    let variadic = rng.one_in(6) && slice.is_ok();
    params.extend(slice.ok().filter(|_| variadic));
    FuncType {
        params,
        results,
        variadic,
    }
}

/// A signature of these types; `func()` should they be refused.
fn signature(
    receiver: Option<Type>,
    params: Vec<Type>,
    results: Vec<Type>,
    variadic: bool,
) -> Signature {
    Signature::new(receiver, params, results, variadic).unwrap_or_default()
}

/// Any signature: up to 12 parameters and 6 results, sometimes a receiver, sometimes variadic.
pub fn random_signature(rng: &mut Rng) -> Signature {
    let most = *rng.pick(&[2, 4, 12]);
    let types = |rng: &mut Rng, most: usize| {
        (0..rng.below(most + 1))
            .map(|_| random_type(rng, 4))
            .collect::<Vec<_>>()
    };
    let mut params = types(rng, most);
    let results = types(rng, most / 2);
    let receiver = rng.one_in(6).then(|| random_type(rng, 3));
    let variadic = rng.one_in(10);
    if variadic && let Ok(slice) = Type::slice(random_type(rng, 2)) {
        params.push(slice);
        return signature(receiver, params, results, true);
    }
    signature(receiver, params, results, false)
}

/// A finalizer's signature: one pointer or interface, any results.
pub fn finalizer_signature(rng: &mut Rng) -> Signature {
    let param = match rng.below(3) {
        0 => Type::empty_interface(),
        1 => Type::error(),
        _ => Type::pointer_to(random_type(rng, 3)).unwrap_or_else(|_| Type::unsafe_pointer()),
    };
    let results = (0..rng.below(5)).map(|_| random_type(rng, 4)).collect();
    signature(None, vec![param], results, false)
}

/// A signature a native convention takes: scalars and interfaces in, anything with bytes out.
pub fn native_signature(rng: &mut Rng) -> Signature {
    let scalar = |rng: &mut Rng| match rng.below(8) {
        0 => Type::empty_interface(),
        1 => Type::unsafe_pointer(),
        2 => Type::pointer_to(random_type(rng, 2)).unwrap_or_else(|_| Type::unsafe_pointer()),
        _ => rng.pick(&BASICS[..SCALARS])(),
    };
    let params = (0..rng.below(14)).map(|_| scalar(rng)).collect();
    let depth = *rng.pick(&[1, 1, 3]);
    let results = (0..rng.below(4)).map(|_| random_type(rng, depth));
    let results = results
        .filter(|ty| ty.layout().is_some_and(|layout| layout.size > 0))
        .collect();
    signature(None, params, results, false)
}

/// Go's ABI on `arch` with random register counts, now and then all registers or none.
pub fn random_go_abi(rng: &mut Rng, arch: Arch) -> Abi {
    let full = Abi::go(arch);
    let chosen = match rng.below(6) {
        0 => Ok(full),
        1 => full.with_int_arg_regs(rng.below(full.int_regs() + 1)),
        _ => full.with_registers(
            rng.below(full.int_regs() + 1),
            rng.below(full.float_regs() + 1),
        ),
    };
    chosen.unwrap_or(full)
}

/// Reads a text as a signature: whatever it is, the answer is a signature or an error with a place
/// in the text, and what is printed of a signature is read as the same one.
///
/// # Panics
/// When that is not so.
pub fn check_text(text: &str) {
    match text.parse::<Signature>() {
        Ok(signature) => {
            let printed = signature.to_string();
            assert_eq!(
                printed.parse::<Signature>().as_ref(),
                Ok(&signature),
                "{printed}"
            );
        }
        Err(error) => assert!(error.offset <= text.len() && error.column > 0, "{error}"),
    }
}

/// Assigns a random signature by every ABI there is, and has the checker look at each assignment.
///
/// # Panics
/// When the checker finds a fault.
pub fn check_assignments(rng: &mut Rng) {
    let signature = if rng.one_in(2) {
        random_signature(rng)
    } else {
        native_signature(rng)
    };
    let go = Arch::GO.map(|arch| random_go_abi(rng, arch));
    let native = Convention::ALL.into_iter().map(Abi::native);
    for abi in go.into_iter().chain(native) {
        if let Ok(assignment) = crate::assign(&signature, abi) {
            let verdict = crate::check::check(&signature, &assignment);
            assert!(verdict.is_ok(), "{signature} by {abi}: {verdict:?}");
        }
    }
}

/// A target for every machine that stubs are made for.
pub const TARGETS: [&str; 8] = [
    "x86_64-unknown-linux-gnu",
    "x86_64-pc-windows-msvc",
    "aarch64-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "riscv64gc-unknown-linux-gnu",
    "s390x-unknown-linux-gnu",
    "pulley64",
    "pulley64be",
];

/// Compiles the stub of a random signature by one of these compilers, by Go's ABI or a native one.
///
/// # Panics
/// When a stub can't be made for another reason than the signature, its key does not read back, or
/// its parts don't go together.
pub fn check_stub(rng: &mut Rng, compilers: &[Compiler]) {
    let compiler = rng.pick(compilers);
    let Some(arch) = compiler.arch() else { return };
    let natives: Vec<Abi> = Convention::ALL
        .into_iter()
        .map(Abi::native)
        .filter(|abi| abi.arch() == arch)
        .collect();
    let has_go = Arch::GO.contains(&arch);
    let (signature, abi) = if has_go && (natives.is_empty() || rng.one_in(2)) {
        (random_signature(rng), random_go_abi(rng, arch))
    } else {
        (native_signature(rng), *rng.pick(&natives))
    };
    let key = match StubKey::new(&signature, abi, KeyOptions::default()) {
        Ok(key) => key,
        Err(_) => match StubKey::block(&signature, abi, KeyOptions::default()) {
            Ok(key) => key,
            Err(error) => {
                assert!(
                    !matches!(error, StubError::Internal { .. }),
                    "{signature} by {abi}: {error}"
                );
                return;
            }
        },
    };
    let read = key.to_string().parse::<StubKey>();
    assert!(
        read.as_ref().is_ok_and(|read| *read == key),
        "{key}: {read:?}"
    );
    check_compiled(compiler, &key);
}

/// # Panics
/// When the stub can't be made although there is code for its ABI, or its parts don't go together.
fn check_compiled(compiler: &Compiler, key: &StubKey) {
    match compiler.compile(key, false) {
        Ok(compiled) => {
            let image = compiled.image().map(|image| image.len());
            let parts = compiled.code.len() + compiled.veneer().len();
            assert!(
                image.as_ref().is_ok_and(|bytes| *bytes >= parts),
                "{key}: {image:?}"
            );
        }
        Err(error) => assert!(
            matches!(
                error,
                StubError::NoGenerator { .. } | StubError::WrongHost { .. }
            ),
            "{key}: {error}"
        ),
    }
}

/// An ABI of Go's or a native one, for any machine.
pub fn random_abi(rng: &mut Rng) -> Abi {
    let arch = *rng.pick(&Arch::ALL);
    if rng.one_in(3) {
        random_go_abi(rng, arch)
    } else {
        Abi::native(*rng.pick(&Convention::ALL))
    }
}

/// The text of a random key of `abi`, as it is printed.
fn random_key_text(rng: &mut Rng, abi: Abi) -> String {
    let options = KeyOptions {
        context_argument: rng.one_in(3),
        ..KeyOptions::default()
    };
    loop {
        let structs = |table: &NativeConvention| table.aggregates != Aggregates::Words;
        let signature = match abi.native_table() {
            Some(table) if structs(table) && rng.one_in(2) => c_signature(rng, abi),
            Some(_) => native_signature(rng),
            None => random_signature(rng),
        };
        let key = if rng.one_in(3) {
            StubKey::new(&signature, abi, options)
        } else {
            StubKey::block(&signature, abi, options)
        };
        if let Ok(key) = key {
            return key.to_string();
        }
    }
}

/// A part that a key of some ABI might have; the syntax is right, the meaning need not be.
fn random_key_part(rng: &mut Rng) -> String {
    const SIZES: [u32; 10] = [1, 2, 4, 8, 3, 16, 24, 160, 0, 1 << 30];
    const OFFSETS: [u32; 12] = [0, 1, 2, 4, 8, 16, 24, 32, 100, 1 << 20, 1 << 29, 1 << 30];
    let (size, from, to) = (*rng.pick(&SIZES), *rng.pick(&OFFSETS), *rng.pick(&OFFSETS));
    let register = rng.below(17);
    match rng.below(13) {
        0 => format!("{size}@{from}>i{register}"),
        1 => format!("s{size}@{from}>i{register}"),
        2 => format!("{size}@{from}>f{register}"),
        3 => format!("{size}@{from}>m{to}"),
        4 => format!("{size}@{from}>w{to}"),
        5 => format!("ctx>{}{register}", rng.pick(&["i", "f", "w", "m"])),
        6 => format!("&m{from}>{}{register}", rng.pick(&["i", "f", "w", "m"])),
        7 => format!("{}{register}>{size}@{to}", rng.pick(&["i", "f"])),
        8 => format!(
            "{}{register}+{}>{size}@{to}",
            rng.pick(&["i", "f"]),
            rng.below(9)
        ),
        9 => format!("{}{from}>{size}@{to}", rng.pick(&["m", "h"])),
        10 => format!("frame={}", rng.pick(&OFFSETS)),
        11 => format!("al={register}"),
        _ => format!("hidden={}", rng.pick(&OFFSETS)),
    }
}

/// The text of a key of a random ABI with up to three parts or characters dropped, doubled,
/// exchanged or replaced.
pub fn damaged_key(rng: &mut Rng) -> String {
    let abi = random_abi(rng);
    let mut text = random_key_text(rng, abi);
    for _ in 0..rng.below(4) {
        let mut parts: Vec<String> = text.split(';').map(str::to_owned).collect();
        let at = rng.below(parts.len());
        match rng.below(7) {
            0 => drop(parts.remove(at)),
            1 => parts.insert(at, parts[at].clone()),
            2 => {
                let other = rng.below(parts.len());
                parts.swap(at, other);
            }
            3 => parts[at] = random_key_part(rng),
            4 => parts.push(random_key_part(rng)),
            5 => parts[0] = random_abi(rng).to_string(),
            _ => {
                let mut bytes = std::mem::take(&mut parts[at]).into_bytes();
                if !bytes.is_empty() {
                    let place = rng.below(bytes.len());
                    bytes[place] = *rng.pick(b"0123456789@>+&;ifmwhsal=");
                }
                parts[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        text = parts.join(";");
    }
    text
}

/// Reads a text as a stub key: what is read prints as a text that is read as the same key, and can
/// be compiled wherever there is code for its ABI.
///
/// # Panics
/// When that is not so.
pub fn check_key(text: &str, compilers: &[Compiler]) {
    let key: StubKey = match text.parse() {
        Ok(key) => key,
        Err(error) => {
            assert!(matches!(error, StubError::Key { .. }), "{text}: {error}");
            return;
        }
    };
    let read = key.to_string().parse::<StubKey>();
    assert!(
        read.as_ref().is_ok_and(|read| *read == key),
        "{key}: {read:?}"
    );
    for compiler in compilers
        .iter()
        .filter(|compiler| compiler.arch() == Some(key.abi().arch()))
    {
        check_compiled(compiler, &key);
    }
}
