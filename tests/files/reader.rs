//! The independent reader: folders as they stand on the disk, with the standard library and SHA-256 alone.

use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::Path,
};

/// Length and SHA-256 in hex.
pub(crate) type Held = (u64, String);

pub(crate) fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

pub(crate) fn held(content: &[u8]) -> Held {
    (content.len() as u64, sha256(content))
}

/// One file, read in pieces.
pub(crate) fn file(path: &Path) -> Held {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut hash, mut length, mut piece) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let came = file.read(&mut piece).unwrap();
        if came == 0 {
            return (length, hex::encode(hash.finalize()));
        }
        hash.update(&piece[..came]);
        length += came as u64;
    }
}

/// Every file below a folder, by its path there.
pub(crate) fn tree(folder: &Path) -> BTreeMap<String, Held> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(within) = open.pop() {
        for path in fs::read_dir(&within).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().expect("a name that is text").to_owned();
                found.insert(name, file(&path));
            }
        }
    }
    found
}

/// The same on both sides, said in few words if not.
pub(crate) fn assert_same(found: &BTreeMap<String, Held>, wanted: &BTreeMap<String, Held>, when: &str) {
    let wrong: Vec<String> = wanted
        .iter()
        .filter(|(key, held)| found.get(*key) != Some(held))
        .map(|(key, held)| format!("{key:?} must be {held:?} and is {:?}", found.get(key)))
        .chain(found.keys().filter(|key| !wanted.contains_key(*key)).map(|key| format!("{key:?} is too much")))
        .collect();
    assert!(wrong.is_empty(), "{when}:\n{}", wrong.join("\n"));
}
