//! Go's own cases of Windows callbacks (runtime/syscall_windows_test.go), with functions that the
//! Go compiler made, called by code of gcc's: by Windows' convention under Go's rules, by the
//! host's conventions without them. And Go's checks, in Go's words.
#![cfg(target_os = "linux")]

#[path = "support/gcc.rs"]
mod gcc;

use std::fmt::Write;

use fing_oracles::emulator::Isa;
use fing_oracles::{Image, go_program};
use fing_stubs::entry::{CallbackOptions, Entries, Function, SharedCallback};
use fing_stubs::{Abi, Arch, Signature, Type};

const SOURCE: &str = r#"package main

type pair struct{ x, y uint8 }

var sink [64]byte

//go:noinline
func spill() { sink[3]++ }

//go:noinline
func Sum2(a, b uintptr) uintptr { return a + b }

//go:noinline
func Sum3(a, b, c uintptr) uintptr { return a + b + c }

//go:noinline
func Sum4(a, b, c, d uintptr) uintptr { return a + b + c + d }

//go:noinline
func Sum5(a, b, c, d, e uintptr) uintptr { return a + b + c + d + e }

//go:noinline
func Sum6(a, b, c, d, e, f uintptr) uintptr { return a + b + c + d + e + f }

//go:noinline
func Sum7(a, b, c, d, e, f, g uintptr) uintptr { return a + b + c + d + e + f + g }

//go:noinline
func Sum8(a, b, c, d, e, f, g, h uintptr) uintptr { return a + b + c + d + e + f + g + h }

//go:noinline
func Sum9(a, b, c, d, e, f, g, h, i uintptr) uintptr { return a + b + c + d + e + f + g + h + i }

//go:noinline
func Sum10(a, b, c, d, e, f, g, h, i, j uintptr) uintptr {
	return a + b + c + d + e + f + g + h + i + j
}

//go:noinline
func Bytes9(a, b, c, d, e, f, g, h, i uint8) uintptr {
	return uintptr(a) + uintptr(b) + uintptr(c) + uintptr(d) + uintptr(e) + uintptr(f) +
		uintptr(g) + uintptr(h) + uintptr(i)
}

//go:noinline
func Mix5(a int8, b int16, c int32, d, e uintptr) uintptr {
	return uintptr(a) + uintptr(b) + uintptr(c) + d + e
}

//go:noinline
func Pairs5(a, b, c, d, e pair) uintptr {
	return uintptr(a.x) + uintptr(a.y) + uintptr(b.x) + uintptr(b.y) + uintptr(c.x) +
		uintptr(c.y) + uintptr(d.x) + uintptr(d.y) + uintptr(e.x) + uintptr(e.y)
}

//go:noinline
func Spilled9(a, b, c, d, e, f, g, h, i uint32) uintptr {
	spill()
	return uintptr(a) + uintptr(b) + uintptr(c) + uintptr(d) + uintptr(e) + uintptr(f) +
		uintptr(g) + uintptr(h) + uintptr(i)
}

//go:noinline
func RollBack(a, b, c, d, e, f, g, h uintptr, p pair, z uintptr) uintptr {
	return a + b + c + d + e + f + g + h + uintptr(p.x)*1000 + uintptr(p.y)*2000 + z*10000
}

func main() {
	n := uintptr(len(sink))
	sink[0] = byte(Sum2(n, n) + Sum3(n, n, n) + Sum4(n, n, n, n) + Sum5(n, n, n, n, n) +
		Sum6(n, n, n, n, n, n) + Sum7(n, n, n, n, n, n, n) + Sum8(n, n, n, n, n, n, n, n) +
		Sum9(n, n, n, n, n, n, n, n, n) + Sum10(n, n, n, n, n, n, n, n, n, n) +
		Bytes9(1, 2, 3, 4, 5, 6, 7, 8, 9) + Mix5(1, 2, 3, n, n) +
		Pairs5(pair{1, 2}, pair{}, pair{}, pair{}, pair{}) + Spilled9(1, 2, 3, 4, 5, 6, 7, 8, 9) +
		RollBack(n, n, n, n, n, n, n, n, pair{3, 4}, n))
}
"#;

/// Name, parameters, the words that the caller passes, and the result.
type Case = (&'static str, &'static str, Vec<u64>, u64);

/// Above a small value there is junk, as a caller may leave it.
const JUNK: u64 = 0xdead_beef_5a5a_0000;

fn cases() -> Vec<Case> {
    let words = |n: u64| (1..=n).map(|i| i * 1_000_003).collect::<Vec<_>>();
    let mut all: Vec<Case> = Vec::new();
    for (n, name, params) in [
        (2, "Sum2", "a, b uintptr"),
        (3, "Sum3", "a, b, c uintptr"),
        (4, "Sum4", "a, b, c, d uintptr"),
        (5, "Sum5", "a, b, c, d, e uintptr"),
        (6, "Sum6", "a, b, c, d, e, f uintptr"),
        (7, "Sum7", "a, b, c, d, e, f, g uintptr"),
        (8, "Sum8", "a, b, c, d, e, f, g, h uintptr"),
        (9, "Sum9", "a, b, c, d, e, f, g, h, i uintptr"),
        (10, "Sum10", "a, b, c, d, e, f, g, h, i, j uintptr"),
    ] {
        all.push((name, params, words(n), words(n).iter().sum()));
    }
    let small: Vec<u64> = (1..=9).map(|i| JUNK << 8 | (20 * i)).collect();
    all.push(("Bytes9", "a, b, c, d, e, f, g, h, i uint8", small, 20 * 45));
    let mixed = vec![JUNK | 0xfe, JUNK | 0xfffd, 0xdead_beef_ffff_fffc, 100, 1000];
    all.push((
        "Mix5",
        "a int8, b int16, c int32, d, e uintptr",
        mixed,
        1100 - 2 - 3 - 4,
    ));
    let nine = (1..=9).map(|i| 0xdead_beef << 32 | (i << 28)).collect();
    all.push((
        "Spilled9",
        "a, b, c, d, e, f, g, h, i uint32",
        nine,
        45 << 28,
    ));
    all
}

/// Structs, which Go's rules have as words.
fn pairs() -> Vec<Case> {
    const PAIR: &str = "struct { x, y uint8 }";
    let five = (1..=5).map(|i| JUNK | (2 * i) << 8 | (2 * i - 1)).collect();
    let mut last: Vec<u64> = (1..=8).collect();
    last.extend([JUNK | 0x0605, 9]);
    const A: &str = "a, b, c, d, e, f, g, h uintptr, p struct { x, y uint8 }, z uintptr";
    vec![
        ("Pairs5", "a, b, c, d, e struct { x, y uint8 }", five, 55),
        ("RollBack", A, last, 36 + 5 * 1000 + 6 * 2000 + 9 * 10000),
    ]
    .into_iter()
    .inspect(|case: &Case| assert!(case.1.contains(PAIR)))
    .collect()
}

/// C's type of a parameter.
fn c_type(ty: &Type) -> String {
    match ty.to_string().as_str() {
        "uintptr" => "uint64_t".into(),
        "struct { x uint8; y uint8 }" => "struct pair".into(),
        integer => format!("{integer}_t"),
    }
}

/// For each case and convention two functions that call an address with the words: as what the
/// parameters are, and as words whatever they are.
fn callers() -> String {
    let mut text = "#include <stdint.h>\nstruct pair { uint8_t x, y; };\n".to_owned();
    for (name, params, words, _) in cases().into_iter().chain(pairs()) {
        let signature: Signature = format!("func({params}) uintptr").parse().unwrap();
        let types: Vec<String> = signature.arguments().map(c_type).collect();
        let value = |(n, ty): (usize, &String)| match ty.as_str() {
            "struct pair" => format!("(struct pair){{w[{n}], w[{n}] >> 8}}"),
            ty => format!("({ty})w[{n}]"),
        };
        let values: Vec<String> = types.iter().enumerate().map(value).collect();
        let raw: Vec<String> = (0..words.len()).map(|n| format!("w[{n}]")).collect();
        for (_, attribute) in gcc::conventions() {
            for (how, types, values) in [
                ("typed", types.join(", "), values.join(", ")),
                (
                    "words",
                    vec!["uint64_t"; words.len()].join(", "),
                    raw.join(", "),
                ),
            ] {
                writeln!(
                    text,
                    "uint64_t {how}_{attribute}_{name}(void *f, const uint64_t *w) {{ return \
                     ((__attribute__(({attribute})) uint64_t (*)({types}))f)({values}); }}"
                )
                .unwrap();
            }
        }
    }
    text
}

/// Calls `address` by one of [`callers`].
fn call(caller: usize, address: usize, words: &[u64]) -> u64 {
    type Caller = extern "C" fn(usize, *const u64) -> u64;
    // SAFETY: one of the functions above, with an entry of its signature and as many words.
    let caller = unsafe { std::mem::transmute::<usize, Caller>(caller) };
    caller(address, words.as_ptr())
}

/// The program, mapped once: its addresses are fixed.
fn image() -> Option<&'static Image> {
    static IMAGE: std::sync::OnceLock<Option<Image>> = std::sync::OnceLock::new();
    let image = IMAGE.get_or_init(|| {
        let sources = [
            ("go.mod", "module callbacks\n\ngo 1.21\n"),
            ("main.go", SOURCE),
        ];
        let path = go_program("callbacks", Isa::host().unwrap(), &sources)?.unwrap();
        Some(Image::map(&path).unwrap())
    });
    image.as_ref()
}

#[test]
fn gos_own_cases() {
    let Some(image) = image() else { return };
    let Some(symbol) = gcc::open("callbacks-go", &callers()) else {
        return;
    };
    let entries = Entries::new(Default::default()).unwrap();
    let function = |name: &str| Function {
        abi: Abi::go(Arch::host().unwrap()),
        code: image.address(&format!("main.{name}")),
        context: 0,
    };
    for (name, params, words, wanted) in cases().into_iter().chain(pairs()) {
        let signature: Signature = format!("func({params}) uintptr").parse().unwrap();
        for (abi, attribute) in gcc::conventions() {
            let point = entries.point(&signature, abi).unwrap();
            // SAFETY: the function is of this signature.
            let callback = unsafe {
                SharedCallback::function(&point, CallbackOptions::default(), function(name))
            };
            let callback = callback.unwrap();
            let caller = symbol(&format!("typed_{attribute}_{name}"));
            let found = call(caller, callback.address(), &words);
            assert_eq!(found, wanted, "{name} by {abi}");
        }
    }
}

/// Go's rules, for callers by Windows' convention.
#[cfg(target_arch = "x86_64")]
mod windows {
    use fing_stubs::Convention;
    use fing_stubs::entry::windows::{MOST_CALLBACKS, WindowsCallbacks, WindowsError};

    use super::*;

    fn fastcall() -> Abi {
        Abi::native(Convention::Fastcall)
    }

    fn function_type(params: &str) -> Type {
        format!("func({params}) uintptr").parse().unwrap()
    }

    /// Under Go's rules every argument is a word, with junk above small ones.
    #[test]
    fn gos_own_cases_by_gos_rules() {
        let Some(image) = image() else { return };
        let Some(symbol) = gcc::open("callbacks-go-words", &callers()) else {
            return;
        };
        let entries = Entries::new(Default::default()).unwrap();
        let windows = WindowsCallbacks::new(&entries, fastcall()).unwrap();
        for (name, params, words, wanted) in cases().into_iter().chain(pairs()) {
            for cdecl in [false, true] {
                let ty = function_type(params);
                let function = Function {
                    abi: Abi::go(Arch::Amd64),
                    code: image.address(&format!("main.{name}")),
                    context: 0,
                };
                // SAFETY: the function is of this type.
                let address = unsafe { windows.compile(&ty, function, cdecl) }.unwrap();
                let found = call(symbol(&format!("words_ms_abi_{name}")), address, &words);
                assert_eq!(found, wanted, "{name}");
                // SAFETY: as above.
                let again = unsafe { windows.compile(&ty, function, cdecl) }.unwrap();
                assert_eq!(again, address, "the same function has the same address");
            }
        }
        assert_eq!(windows.len(), 2 * (cases().len() + pairs().len()));
    }

    /// Go 1.27's mistake, planted: only the case in which a struct does not fit sees it.
    #[cfg(feature = "faults")]
    #[test]
    fn a_register_counter_without_roll_back_is_seen() {
        use fing_stubs::check::check;
        let Some(image) = image() else { return };
        let Some(symbol) = gcc::open("callbacks-go-fault", &callers()) else {
            return;
        };
        let entries = Entries::new(Default::default()).unwrap();
        let mut windows = WindowsCallbacks::new(&entries, fastcall()).unwrap();
        windows.plant_no_roll_back();
        let mut wrong = Vec::new();
        for (name, params, words, wanted) in cases().into_iter().chain(pairs()) {
            let function = Function {
                abi: Abi::go(Arch::Amd64),
                code: image.address(&format!("main.{name}")),
                context: 0,
            };
            // SAFETY: the function is of this type; it reads junk as a number at most.
            let address = unsafe { windows.compile(&function_type(params), function, true) };
            let caller = symbol(&format!("words_ms_abi_{name}"));
            if call(caller, address.unwrap(), &words) != wanted {
                wrong.push(name);
            }
            let signature: Signature = format!("func({params}) uintptr").parse().unwrap();
            let naive =
                fing_stubs::faults::assign_without_roll_back(&signature, function.abi).unwrap();
            // The checker counts registers too, so it sees it even where nothing comes after.
            let is_wrong = ["Pairs5", "RollBack"].contains(&name);
            assert_eq!(check(&signature, &naive).is_err(), is_wrong, "{name}");
        }
        assert_eq!(wrong, ["RollBack"]);
    }

    /// Each check with Go's text, in Go's order.
    #[test]
    fn gos_checks() {
        let entries = Entries::new(Default::default()).unwrap();
        let windows = WindowsCallbacks::new(&entries, fastcall()).unwrap();
        let go = |n| Abi::go(Arch::Amd64).with_int_arg_regs(n).unwrap();
        let refused = |text: &str, abi| {
            let (ty, function) = (
                text.parse::<Type>().unwrap(),
                Function {
                    abi,
                    code: 1,
                    context: 0,
                },
            );
            // SAFETY: nothing is called.
            unsafe { windows.compile(&ty, function, true) }.unwrap_err()
        };
        let unsupported =
            |ty| format!("type {ty} is currently not supported for use in system callbacks");
        let expected = "expected function with one uintptr-sized result";
        let large = "argument size is larger than uintptr";
        let cases = [
            ("int", expected.to_owned()),
            ("func(string) (int, int)", large.to_owned()),
            (
                "func(float32, string)",
                "float arguments not supported".to_owned(),
            ),
            ("func(string, float32)", large.to_owned()),
            ("func(int)", expected.to_owned()),
            ("func(int) int32", expected.to_owned()),
            ("func(int) (int, int)", expected.to_owned()),
            (
                "func(int) float64",
                "float results not supported".to_owned(),
            ),
            ("func(map[int]int) int", unsupported("map[int]int")),
            ("func(chan int) int", unsupported("chan int")),
            ("func(func()) int", unsupported("func()")),
            ("func(struct { a [2]int8 }) int", unsupported("[2]int8")),
            ("func([1]float32) int", unsupported("float32")),
            ("func(complex64) int", unsupported("complex64")),
        ];
        for (text, wanted) in cases {
            let error = refused(text, go(9));
            assert_eq!(
                error.go().unwrap(),
                format!("compileCallback: {wanted}"),
                "{text}: {error}"
            );
        }
        let many = format!("func({}) int", vec!["int"; 80].join(", "));
        let frame = refused(&many, go(9));
        assert_eq!(
            frame.to_string(),
            "Windows callback: the frame is 640 bytes, wanted at most 512"
        );
        let fits = format!("func({}) int", vec!["int"; 64].join(", "));
        let function = |code| Function {
            abi: go(0),
            code,
            context: 0,
        };
        // SAFETY: nothing is called.
        let compile = |ty: &Type, code| unsafe { windows.compile(ty, function(code), true) };
        compile(&fits.parse().unwrap(), 1).unwrap();
        // A part behind the first that has no register is not looked at, as in Go.
        compile(
            &"func(struct { a int32; b float32 }) int".parse().unwrap(),
            2,
        )
        .unwrap();
        compile(
            &"func(struct{}, [0]float64, *int, struct { a, b bool }) int"
                .parse()
                .unwrap(),
            3,
        )
        .unwrap();
        let ty: Type = "func(int) int".parse().unwrap();
        for code in 4..=MOST_CALLBACKS {
            compile(&ty, code).unwrap();
        }
        compile(&ty, 7).unwrap();
        let error = compile(&ty, MOST_CALLBACKS + 1).unwrap_err();
        assert!(matches!(error, WindowsError::TooMany), "{error}");
        assert_eq!(error.go().as_deref(), Some("too many callback functions"));
        // Types are checked before the function is looked up.
        compile(&"func(float32) int".parse().unwrap(), 7).unwrap_err();
        let other = WindowsCallbacks::new(&entries, Abi::system_v()).unwrap_err();
        assert_eq!(
            other.to_string(),
            "Windows callback: found sysv/amd64, wanted fastcall/amd64 or aapcs/arm64 for the \
             callers"
        );
    }
}
