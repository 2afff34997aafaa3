//! The file that tests and fuzzing write.

use std::cell::{Ref, RefCell};
use std::io::{self, Write};
use std::rc::Rc;

/// A file in memory. A clone is the same file: it shows what is written while a sink has the other.
#[derive(Clone, Default)]
pub struct FileInMemory(Rc<RefCell<Vec<u8>>>);

impl FileInMemory {
    /// Returns the bytes that were written.
    pub fn bytes(&self) -> Ref<'_, [u8]> {
        Ref::map(self.0.borrow(), Vec::as_slice)
    }

    /// Takes the bytes that were written.
    pub fn take(&self) -> Vec<u8> {
        self.0.take()
    }
}

impl Write for FileInMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
