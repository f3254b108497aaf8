//! [`Sink`]: a file with a head that may change and lines that only become more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The file is there already.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The file cannot be created or written.
    #[error("cannot write {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// The file is as long as it may become.
    #[error("{} has reached its limit of {longest} bytes", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// Its limit.
        longest: u64,
    },
}

/// A file that is being written.
#[derive(Debug)]
pub struct Sink {
    path: PathBuf,
    file: File,
    head: String,
    /// Bytes of head and lines.
    length: u64,
    longest: u64,
}

impl Sink {
    /// Creates the file, with the folders above it.
    ///
    /// # Errors
    ///
    /// It cannot be created, or is there and may not be overwritten.
    pub fn create(path: &Path, overwrite: bool, longest: u64) -> Result<Self, SinkError> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => SinkError::Exists(path.to_owned()),
            _ => SinkError::Io { path: path.to_owned(), cause: error },
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(overwrite).create_new(!overwrite).truncate(overwrite);
        let file = options.open(path).map_err(fail)?;
        Ok(Self { path: path.to_owned(), file, head: String::new(), length: 0, longest })
    }

    /// Writes text behind the lines so far; with another head than before, the whole file again.
    ///
    /// # Errors
    ///
    /// The file is full, which its last line says then, or cannot be written.
    pub fn write(&mut self, head: &str, text: &str) -> Result<(), SinkError> {
        let lines = self.length - self.head.len() as u64;
        if head.len() as u64 + lines + text.len() as u64 > self.longest {
            let _ = self.file.write_all(b"# The recording ends here: the file has reached its limit.\n");
            return Err(SinkError::Full { path: self.path.clone(), longest: self.longest });
        }
        let outcome = if head == self.head { Ok(()) } else { self.replace_head(head) };
        let outcome = outcome.and_then(|()| self.file.write_all(text.as_bytes()));
        self.length += text.len() as u64;
        outcome.map_err(|cause| SinkError::Io { path: self.path.clone(), cause })
    }

    /// Writes a copy with another head and puts it in place of the file, so that there is a whole file at any time.
    fn replace_head(&mut self, head: &str) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = self.path.with_file_name(name);
        let lines = self.length - self.head.len() as u64;
        let mut copy = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&beside)?;
        copy.write_all(head.as_bytes())?;
        self.file.seek(SeekFrom::Start(self.head.len() as u64))?;
        io::copy(&mut Read::by_ref(&mut self.file).take(lines), &mut copy)?;
        fs::rename(&beside, &self.path)?;
        self.file = copy;
        head.clone_into(&mut self.head);
        self.length = lines + head.len() as u64;
        Ok(())
    }
}
