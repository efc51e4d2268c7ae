//! The files that loading the configuration needs, from the real file system.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::logging;
use crate::config::{Files, LogLevel};
use crate::sys::file;

/// The real file system, standard input and working directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn read_stdin(&mut self) -> io::Result<Vec<u8>> {
        // How to log is not known yet.
        logging::configure(LogLevel::Notice, Path::new(""));
        log::info!("Reading config from stdin");
        let mut input = Vec::new();
        io::stdin().lock().read_to_end(&mut input)?;
        Ok(input)
    }

    fn expand(&mut self, pattern: &Path) -> Vec<PathBuf> {
        file::expand(pattern)
    }

    fn change_dir(&mut self, path: &Path) -> io::Result<()> {
        std::env::set_current_dir(path)
    }

    fn current_dir(&mut self) -> PathBuf {
        std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
    }

    fn try_append(&mut self, path: &Path) -> io::Result<()> {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map(drop)
    }
}
