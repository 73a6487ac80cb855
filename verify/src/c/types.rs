//! C's declarations of types.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Write;

use fing_stubs::signature::{CType, Record};
use fing_stubs::{Abi, Convention, Kind, Type};

/// Type definitions, as they grow.
pub(super) struct Types {
    abi: Abi,
    pub(super) text: String,
    names: HashMap<Type, String>,
}

impl Types {
    pub(super) fn new(abi: Abi) -> Types {
        Types {
            abi,
            text: String::new(),
            names: HashMap::new(),
        }
    }

    /// A name for the type, which is defined if it has none; gcc is asked whether it has the size
    /// and alignment that fing says.
    pub(super) fn name(&mut self, ty: &Type) -> String {
        if let Some(name) = scalar(ty.underlying()) {
            return name.to_owned();
        }
        if let Some(name) = self.names.get(ty) {
            return name.clone();
        }
        let members: Vec<String> = match ty.underlying() {
            Kind::Array(_, elem) => vec![self.name(elem)],
            Kind::Struct(fields) => fields.iter().map(|field| self.name(&field.ty)).collect(),
            Kind::C(CType::Record(record)) => record
                .members
                .iter()
                .map(|member| self.name(&member.ty))
                .collect(),
            Kind::C(CType::Vector(_, elem)) => vec![self.name(elem)],
            _ => Vec::new(),
        };
        let name = format!("T{}", self.names.len());
        let definition = match ty.underlying() {
            Kind::Array(len, _) => format!("typedef {} {name}[{len}];", members[0]),
            Kind::C(CType::Vector(len, elem)) => {
                let bytes = len * elem.layout().map_or(0, |layout| layout.size);
                let attribute = format!("__attribute__((vector_size({bytes})))");
                format!("typedef {} {name} {attribute};", members[0])
            }
            Kind::C(CType::Record(record)) => self.record(record, &members, &name),
            Kind::Struct(_) => {
                let fields: Vec<String> = members
                    .iter()
                    .enumerate()
                    .map(|(n, of)| format!("{of} m{n};"))
                    .collect();
                format!("typedef struct {{ {} }} {name};", fields.join(" "))
            }
            _ => format!("typedef Unknown {name}; /* {ty} */"),
        };
        // Writing to a String never fails; the same below.
        let _ = writeln!(self.text, "{definition}");
        if let Some(layout) = self.abi.layout_of(ty) {
            let (size, align) = (layout.size, layout.align);
            let _ = writeln!(
                self.text,
                "_Static_assert(sizeof({name}) == {size} && _Alignof({name}) == {align}, \"{ty}\");"
            );
        }
        self.names.insert(ty.clone(), name.clone());
        name
    }

    fn record(&self, record: &Record, members: &[String], name: &str) -> String {
        let mut text = String::new();
        for (n, (member, of)) in record.members.iter().zip(members).enumerate() {
            let _ = write!(text, " {of} m{n}");
            if let Some(bits) = member.bits {
                let _ = write!(text, " : {bits}");
            }
            if let Some(align) = member.align {
                let _ = write!(text, " __attribute__((aligned({align})))");
            }
            text.push(';');
        }
        let mut attributes = Vec::new();
        if record.pack == Some(1) {
            attributes.push("packed".to_owned());
        }
        attributes.extend(record.align.map(|align| format!("aligned({align})")));
        // Microsoft's layout of bit-fields, which a function's convention does not bring with it.
        if self.abi.convention() == Some(Convention::Fastcall) {
            attributes.push("ms_struct".to_owned());
        }
        let keyword = if record.is_union { "union" } else { "struct" };
        let attributes = attributes.join(", ");
        let typedef =
            format!("typedef {keyword} {{{text} }} __attribute__(({attributes})) {name};");
        match record.pack {
            Some(pack @ 2..) => {
                format!("#pragma pack(push, {pack})\n{typedef}\n#pragma pack(pop)")
            }
            _ => typedef,
        }
    }
}

/// C's name of a type that has one.
fn scalar(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Bool => "_Bool",
        Kind::Int8 => "int8_t",
        Kind::Int16 => "int16_t",
        Kind::Int32 => "int32_t",
        Kind::Int64 | Kind::Int => "int64_t",
        Kind::Uint8 => "uint8_t",
        Kind::Uint16 => "uint16_t",
        Kind::Uint32 => "uint32_t",
        Kind::Uint64 | Kind::Uint | Kind::Uintptr => "uint64_t",
        Kind::Float32 => "float",
        Kind::Float64 => "double",
        Kind::Complex64 => "float _Complex",
        Kind::Complex128 => "double _Complex",
        Kind::Interface(_) => "Interface",
        Kind::String => "String",
        Kind::Slice(_) => "Slice",
        Kind::C(CType::Int128) => "__int128",
        Kind::C(CType::Uint128) => "unsigned __int128",
        Kind::C(CType::LongDouble) => "long double",
        Kind::C(CType::ComplexLongDouble) => "long double _Complex",
        Kind::C(CType::Float16) => "_Float16",
        Kind::Pointer(_) | Kind::UnsafePointer | Kind::Map(..) | Kind::Chan(..) | Kind::Func(_) => {
            "void *"
        }
        _ => return None,
    })
}
