//! Values and their encodings; no protocol, no I/O.
use crate::base::time::UnixMs;
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub at: Option<UnixMs>,
}
#[derive(Clone, Copy)]
pub enum StringRef<'a> {
    Bytes(&'a [u8]),
}
impl<'a> StringRef<'a> {
    pub fn len(&self) -> usize {
        match self {
            StringRef::Bytes(b) => b.len(),
        }
    }
}
impl Entry {
    pub fn expire_at(&self) -> Option<UnixMs> {
        self.at
    }
    pub fn key(&self) -> &[u8] {
        &self.key
    }
    pub fn string(&self) -> StringRef<'_> {
        StringRef::Bytes(&self.value)
    }
}
