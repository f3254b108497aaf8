//! [`text_files`]: the conversations of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Returns the `.txt` files of a folder and of those below it, in order.
///
/// # Errors
///
/// A folder cannot be read.
pub fn text_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
