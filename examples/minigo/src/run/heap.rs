//! The program's types as types of fing's heap.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use cranelift_module::FuncId as Code;
use fing::vm::SafepointFlag;
use fing::{Runtime, TypeId};

use crate::types::{Basic, Kind, Ty, Types};

/// Types of the heap, by what they are for.
pub(crate) struct HeapTypes<'p> {
    types: &'p Types,
    runtime: Runtime,
    flag: SafepointFlag,
    /// By the number that generated code passes.
    sites: Vec<TypeId>,
    by_text: HashMap<String, usize>,
    /// Named types that the heap knows, with their names there.
    defined: HashMap<Ty, String>,
    names: HashSet<String>,
    /// By the text of their elements.
    arrays: HashMap<String, TypeId>,
    texts: HashMap<Vec<u8>, usize>,
    closures: HashMap<Code, usize>,
    any: Ty,
}

impl<'p> HeapTypes<'p> {
    pub(crate) fn new(types: &'p Types, runtime: &Runtime) -> Result<HeapTypes<'p>, String> {
        let empty = |ty: &Ty| match types.own_kind(*ty) {
            Kind::Interface(methods) => methods.is_empty(),
            _ => false,
        };
        let any = types
            .all()
            .find(empty)
            .ok_or("the program has no type any")?;
        Ok(HeapTypes {
            types,
            runtime: runtime.clone(),
            flag: runtime.safepoint_flag(),
            sites: Vec::new(),
            by_text: HashMap::new(),
            defined: HashMap::new(),
            names: HashSet::new(),
            arrays: HashMap::new(),
            texts: HashMap::new(),
            closures: HashMap::new(),
            any,
        })
    }

    pub(crate) fn any(&self) -> Ty {
        self.any
    }

    /// The address of the word that generated code tests at its safepoints.
    pub(crate) fn flag(&self) -> usize {
        self.flag.address()
    }

    /// The type as fing's parser reads it.
    pub(crate) fn text(&mut self, ty: Ty) -> Result<String, String> {
        if self.types.named(ty).is_some() && !self.types.is_interface(ty) {
            return self.named(ty);
        }
        Ok(match self.types.own_kind(ty) {
            Kind::Basic(Basic::Void) => "struct {}".to_owned(),
            Kind::Basic(_) => self.types.show(self.types.default_type(ty)),
            Kind::Pointer(to) => format!("*{}", self.text(*to)?),
            Kind::Slice(of) => format!("[]{}", self.text(*of)?),
            Kind::Array(n, of) => format!("[{n}]{}", self.text(*of)?),
            Kind::Struct(fields) => {
                let mut text = String::from("struct {");
                for (index, field) in fields.iter().enumerate() {
                    let ty = self.text(field.ty)?;
                    text.push_str(&format!(" f{index} {ty};"));
                }
                text + " }"
            }
            Kind::Weak(_) | Kind::Map(..) | Kind::Chan(..) | Kind::Func(_) => {
                "unsafe.Pointer".to_owned()
            }
            _ => "any".to_owned(),
        })
    }

    fn named(&mut self, ty: Ty) -> Result<String, String> {
        if let Some(name) = self.defined.get(&ty) {
            return Ok(name.clone());
        }
        let Some(named) = self.types.named(ty) else {
            return Err("a type has no name".to_owned());
        };
        let mut name = named.name.clone();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{}_{number}", named.name);
        }
        let underlying = named.underlying;
        self.defined.insert(ty, name.clone());
        let types = self.runtime.types();
        types
            .declare_local(&name, &named.name)
            .map_err(|error| error.to_string())?;
        let text = self.text(underlying)?;
        let id = self
            .runtime
            .types()
            .define(&name, &text)
            .map_err(|error| error.to_string())?;
        let desc = self
            .runtime
            .types()
            .desc(id)
            .map_err(|error| error.to_string())?;
        let (found, wanted) = (desc.size() as u64, self.types.size(ty));
        if found != wanted {
            return Err(format!(
                "{name} has {found} bytes in the heap, wanted {wanted}"
            ));
        }
        Ok(name)
    }

    /// The number that generated code passes to make an object of a type of the heap's.
    pub(crate) fn site(&mut self, text: &str) -> Result<usize, String> {
        if let Some(site) = self.by_text.get(text) {
            return Ok(*site);
        }
        let id = self
            .runtime
            .types()
            .id(text)
            .map_err(|error| error.to_string())?;
        self.sites.push(id);
        self.by_text.insert(text.to_owned(), self.sites.len() - 1);
        Ok(self.sites.len() - 1)
    }

    /// How many sites there are.
    pub(super) fn sites(&self) -> usize {
        self.sites.len()
    }

    pub(crate) fn at_site(&self, site: usize) -> TypeId {
        self.sites[site]
    }

    /// The type of one object.
    pub(super) fn id(&mut self, ty: Ty) -> Result<TypeId, String> {
        let text = self.text(ty)?;
        let site = self.site(&text)?;
        Ok(self.sites[site])
    }

    /// The type of arrays of any length, whose elements are of a type with this text. The first
    /// element is the value that each object has, as a finalizer may be set for it.
    pub(super) fn array(&mut self, text: &str) -> Result<TypeId, String> {
        if let Some(id) = self.arrays.get(text) {
            return Ok(*id);
        }
        let types = self.runtime.types();
        let id = types.id(text).and_then(|elem| {
            let name = format!("array.A{}", self.arrays.len());
            types.define_array(&name, &format!("struct {{ first {text} }}"), elem)
        });
        let id = id.map_err(|error| error.to_string())?;
        self.arrays.insert(text.to_owned(), id);
        Ok(id)
    }

    /// The address of text that is never freed.
    pub(crate) fn text_bytes(&mut self, bytes: &[u8]) -> usize {
        if let Some(address) = self.texts.get(bytes) {
            return *address;
        }
        let kept: &'static [u8] = bytes.to_vec().leak();
        let address = kept.as_ptr().expose_provenance();
        self.texts.insert(bytes.to_vec(), address);
        address
    }

    /// The address of the closure of a function that captures nothing.
    pub(crate) fn closure_word(&mut self, code: Code) -> usize {
        let make = || Box::leak(Box::new(0usize)) as *mut usize;
        *self
            .closures
            .entry(code)
            .or_insert_with(|| make().expose_provenance())
    }
}
