//! Entries in an object file of Cranelift's: gcc compiles their callers and handlers, links both,
//! and its unwinder finds the way through by the table that the entry comes with.
#![cfg(target_os = "linux")]

use std::fmt::Write;

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_module::{DataDescription, DataId, Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule, ObjectProduct};
use fing_stubs::clif::{Defined, EntryContext, EntryHandler, define_entry, handler_signature};
use fing_stubs::entry::EntryKey;
use fing_stubs::fuzzing::Rng;
use fing_stubs::{Abi, BlockLayout, Compiler, DEFAULT_FRAME_LIMIT, Signature};
use object::write::{Relocation, SectionId};
use object::{RelocationEncoding, RelocationFlags, RelocationKind, SectionKind};

#[path = "support/clif.rs"]
#[expect(dead_code, reason = "a part of it is for tests of modules of a JIT")]
mod clif;
#[path = "support/gcc.rs"]
#[expect(dead_code, reason = "libraries of C alone")]
mod gcc;

use gcc::library;

/// Go's name of a type and C's.
const TYPES: &[(&str, &str)] = &[
    ("bool", "_Bool"),
    ("int8", "signed char"),
    ("int16", "short"),
    ("int32", "int"),
    ("int64", "long long"),
    ("uint8", "unsigned char"),
    ("uint16", "unsigned short"),
    ("uint32", "unsigned"),
    ("uint64", "unsigned long long"),
    ("float32", "float"),
    ("float64", "double"),
    ("unsafe.Pointer", "void *"),
];
/// As an argument only: several results are one struct, and these would be structs in it.
const STRUCTS: &[(&str, &str)] = &[
    ("any", "struct pair"),
    ("struct{ a int8; b float32 }", "struct small"),
    ("struct{ a [5]int64 }", "struct large"),
];
const DECLARATIONS: &str = "\
#include <string.h>
struct pair { void *a, *b; };
struct small { signed char a; float b; };
struct large { long long a[5]; };
";
/// Bytes of the area of a case: those of its arguments, of its results, and more.
const AREA: usize = 2048;
/// Where the handler leaves the arguments in the area, and finds the results.
const DUMP: usize = 16;
const GIVEN: usize = 1024;

struct Case {
    signature: Signature,
    abi: Abi,
    attribute: &'static str,
    arguments: Vec<&'static str>,
    results: Vec<&'static str>,
}

impl Case {
    fn random(rng: &mut Rng, (abi, attribute): (Abi, &'static str)) -> Case {
        let arguments: Vec<_> = (0..rng.below(14))
            .map(|_| match rng.one_in(6) {
                true => *rng.pick(STRUCTS),
                false => *rng.pick(TYPES),
            })
            .collect();
        let results: Vec<_> = (0..rng.below(5)).map(|_| *rng.pick(TYPES)).collect();
        let names = |types: &[(&'static str, &str)]| {
            let names: Vec<&str> = types.iter().map(|ty| ty.0).collect();
            names.join(", ")
        };
        let text = format!("func({}) ({})", names(&arguments), names(&results));
        Case {
            signature: text.parse().unwrap(),
            abi,
            attribute,
            arguments: arguments.iter().map(|ty| ty.1).collect(),
            results: results.iter().map(|ty| ty.1).collect(),
        }
    }

    fn layouts(&self) -> [BlockLayout; 2] {
        [
            BlockLayout::under(self.abi, self.signature.arguments()),
            BlockLayout::under(self.abi, self.signature.results()),
        ]
    }

    /// In C: `take_n`, the handler, which moves the arguments to its context and results from
    /// behind them; `where_n`, which says where the area is; and `call_n`, which calls `entry_n`
    /// with arguments from a block and puts what it returns into another.
    fn source(&self, n: usize) -> String {
        let [arguments, results] = self.layouts();
        let mut text = format!(
            "extern char area_{n}[] __attribute__((visibility(\"hidden\")));\n\
             char *where_{n}(void) {{ return area_{n}; }}\n\
             void take_{n}(char *area, const char *arguments, char *results) {{\n\
             memcpy(area, arguments, {});\nmemcpy(results, area + {}, {});\n}}\n",
            arguments.size(),
            GIVEN - DUMP,
            results.size()
        );
        let result = match &self.results[..] {
            [] => "void".to_owned(),
            [one] => (*one).to_owned(),
            _ => format!("struct results_{n}"),
        };
        if self.results.len() > 1 {
            let fields = self.results.iter().enumerate();
            let fields: Vec<String> = fields.map(|(n, ty)| format!("{ty} f{n};")).collect();
            writeln!(text, "{result} {{ {} }};", fields.join(" ")).unwrap();
        }
        let types = match self.arguments.is_empty() {
            true => "void".to_owned(),
            false => self.arguments.join(", "),
        };
        let attribute = self.attribute;
        writeln!(
            text,
            "extern __attribute__(({attribute})) {result} entry_{n}({types});\n\
             void call_{n}(const char *from, char *to) {{"
        )
        .unwrap();
        for (n, (ty, at)) in self.arguments.iter().zip(arguments.offsets()).enumerate() {
            writeln!(text, "{ty} a{n}; memcpy(&a{n}, from + {at}, sizeof a{n});").unwrap();
        }
        let values: Vec<String> = (0..self.arguments.len()).map(|n| format!("a{n}")).collect();
        let assign = if self.results.is_empty() { "" } else { "r =" };
        if !self.results.is_empty() {
            writeln!(text, "{result} r;").unwrap();
        }
        writeln!(text, "{assign} entry_{n}({});", values.join(", ")).unwrap();
        for (n, at) in results.offsets().iter().enumerate() {
            let field = match self.results.len() {
                1 => "r".to_owned(),
                _ => format!("r.f{n}"),
            };
            writeln!(text, "memcpy(to + {at}, &{field}, sizeof {field});").unwrap();
        }
        text + "}\n"
    }

    /// Random bytes of a block, and which of them belong to values; a `bool` is 0 or 1.
    fn block<'a>(
        types: impl Iterator<Item = &'a fing_stubs::Type>,
        layout: &BlockLayout,
        rng: &mut Rng,
    ) -> (Vec<u8>, Vec<bool>) {
        let size = layout.size() as usize;
        let (mut bytes, mut counts) = (vec![0; size], vec![false; size]);
        for (ty, &at) in types.zip(layout.offsets()) {
            let (at, size) = (at as usize, ty.layout().unwrap().size as usize);
            let text = ty.to_string();
            for n in at..at + size {
                // Between the fields of this struct.
                counts[n] =
                    !(text.starts_with("struct") && size == 8 && (1..4).contains(&(n - at)));
                bytes[n] = rng.next_u64() as u8;
            }
            if text == "bool" {
                bytes[at] &= 1;
            }
        }
        (bytes, counts)
    }
}

fn module(isa: OwnedTargetIsa) -> ObjectModule {
    let builder = ObjectBuilder::new(isa, "entries", default_libcall_names()).unwrap();
    ObjectModule::new(builder)
}

/// Memory of the library's own, hidden from other libraries.
fn area(module: &mut ObjectModule, name: &str) -> DataId {
    let linkage = Linkage::Hidden;
    let id = module.declare_data(name, linkage, true, false).unwrap();
    let mut data = DataDescription::new();
    data.define_zeroinit(AREA);
    data.set_align(16);
    module.define_data(id, &data).unwrap();
    id
}

/// An entry of a signature whose handler, a function of C's, is told where in an area to look.
fn define(
    module: &mut ObjectModule,
    name: [&str; 2],
    signature: &Signature,
    abi: Abi,
    context: EntryContext,
) -> Defined {
    let [name, handler] = name;
    let compiler = Compiler::host().unwrap();
    let wanted = handler_signature(module.isa());
    let handler = module.declare_function(handler, Linkage::Import, &wanted);
    let handler = EntryHandler::new(handler.unwrap()).context(context);
    let key = EntryKey::new(signature, abi, DEFAULT_FRAME_LIMIT).unwrap();
    define_entry(&compiler, module, name, Linkage::Export, &key, handler).unwrap()
}

#[test]
fn gcc_calls_entries_of_an_object_file() {
    let mut rng = Rng::new(33);
    let count = fing_oracles::cases(60) as usize;
    let mut module = module(clif::isa(&[("is_pic", "true")]));
    let mut source = DECLARATIONS.to_owned();
    let mut cases = Vec::new();
    for n in 0..count {
        let conventions = gcc::conventions();
        let case = Case::random(&mut rng, conventions[n % conventions.len()]);
        let data = area(&mut module, &format!("area_{n}"));
        let context = EntryContext::Data(data, DUMP as i64);
        let names = [&*format!("entry_{n}"), &*format!("take_{n}")];
        define(&mut module, names, &case.signature, case.abi, context);
        source += &case.source(n);
        cases.push(case);
    }
    let object = module.finish().emit().unwrap();
    let files: [(&str, &[u8]); 2] = [("entries.o", &object), ("callers.c", source.as_bytes())];
    let Some(symbol) = library::open("clif-entries-gcc", &[library::CODE_STAYS], &files) else {
        return;
    };
    for (n, case) in cases.iter().enumerate() {
        type Caller = unsafe extern "C" fn(*const u8, *mut u8);
        let name = format!("case {n}: {} by {}", case.signature, case.abi);
        let [arguments, results] = case.layouts();
        let types = case.signature.arguments();
        let (passed, passed_counts) = Case::block(types, &arguments, &mut rng);
        let types = case.signature.results().iter();
        let (given, given_counts) = Case::block(types, &results, &mut rng);
        let mut found = vec![0; given.len()];
        // SAFETY: the area is of this size and only this thread uses it; `call_n` takes these
        // blocks.
        let dump = unsafe {
            let place = symbol(&format!("where_{n}"));
            let area = std::mem::transmute::<usize, extern "C" fn() -> *mut u8>(place)();
            let caller = symbol(&format!("call_{n}"));
            let caller = std::mem::transmute::<usize, Caller>(caller);
            std::ptr::copy_nonoverlapping(given.as_ptr(), area.add(GIVEN), given.len());
            caller(passed.as_ptr(), found.as_mut_ptr());
            std::slice::from_raw_parts(area.add(DUMP), passed.len()).to_vec()
        };
        let only = |bytes: &[u8], counts: &[bool]| -> Vec<u8> {
            let both = bytes.iter().zip(counts);
            both.filter_map(|(&byte, &counts)| counts.then_some(byte))
                .collect()
        };
        assert_eq!(
            only(&dump, &passed_counts),
            only(&passed, &passed_counts),
            "{name}: arguments"
        );
        assert_eq!(
            only(&found, &given_counts),
            only(&given, &given_counts),
            "{name}: results"
        );
    }
}

/// `start` calls an entry, whose handler counts the frames of `start` that the unwinder sees.
const TRACE: &str = "\
#include <unwind.h>
int start(void);
static _Unwind_Reason_Code see(struct _Unwind_Context *context, void *count) {
  void *function = _Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(context) - 1);
  *(int *)count += function == (void *)&start;
  return _URC_NO_REASON;
}
void trace(int *count, const void *arguments, void *results) {
  _Unwind_Backtrace(see, count);
}
extern double entry(long long, double, float, struct large, struct large);
extern char area[] __attribute__((visibility(\"hidden\")));
int start(void) {
  struct large large = { { 1, 2, 3, 4, 5 } };
  entry(1, 2, 3, large, large);
  return *(int *)area;
}
";

/// Writes an entry's table into the object file, as `UnwindTable` says.
fn write_table(product: &mut ObjectProduct, entry: &Defined) {
    let table = entry.unwind.as_ref().unwrap().relocatable();
    let function = product.function_symbol(entry.id);
    let object = &mut product.object;
    // An exported function may be another library's; its section is this file's.
    let (symbol, start) = object.symbol_section_and_offset(function).unwrap();
    let kind = SectionKind::ReadOnlyData;
    let section: SectionId = object.add_section(Vec::new(), b".eh_frame".to_vec(), kind);
    let at = object.append_section_data(section, &table.bytes, 8);
    for address in &table.addresses {
        let relocation = Relocation {
            offset: at + address.offset,
            symbol,
            addend: start as i64 + address.addend,
            flags: RelocationFlags::Generic {
                kind: RelocationKind::Relative,
                encoding: RelocationEncoding::Generic,
                size: 32,
            },
        };
        object.add_relocation(section, relocation).unwrap();
    }
}

#[test]
fn an_unwinder_finds_the_caller_by_the_entrys_table() {
    let signature = "func(int64, float64, float32, struct{ a [5]int64 }, struct{ a [5]int64 }) \
                     float64";
    let signature = signature.parse().unwrap();
    // Without the table it does not get there.
    for (with_table, wanted) in [(true, 1), (false, 0)] {
        let mut module = module(clif::isa(&[("is_pic", "true")]));
        let context = EntryContext::Data(area(&mut module, "area"), 0);
        let abi = Abi::host_native().unwrap();
        let entry = define(&mut module, ["entry", "trace"], &signature, abi, context);
        let mut product = module.finish();
        if with_table {
            write_table(&mut product, &entry);
        }
        let object = product.emit().unwrap();
        let source = format!("{DECLARATIONS}{TRACE}");
        let files: [(&str, &[u8]); 2] = [("entries.o", &object), ("trace.c", source.as_bytes())];
        let name = format!("clif-entries-unwind-{with_table}");
        let Some(symbol) = library::open(&name, &[library::CODE_STAYS], &files) else {
            return;
        };
        // SAFETY: a function of C's of this type.
        let start =
            unsafe { std::mem::transmute::<usize, extern "C" fn() -> i32>(symbol("start")) };
        assert_eq!(start(), wanted, "with the table: {with_table}");
    }
}
