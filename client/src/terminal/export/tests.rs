use std::error::Error as StdError;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

const SHARED: &str = "files/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SIGNED: &[u8] = b"greffe export 1\n{\"export\":7,\"counts\":{\"rows\":3}}\n\n\xe2\x80\x94 greffe/x AAAA\n";

/// An export as a server sends it.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("README.txt", b"read me".to_vec()),
        ("sizes", vec![]),
        ("rows.pb", (0..1500_u32).flat_map(u32::to_le_bytes).collect()),
        ("tree", vec![9; 512]),
        (SHARED, vec![1; 513]),
        ("manifest", SIGNED.to_vec()),
    ]
}

fn order() -> Order {
    Order {
        export: Some(7),
        case: Some(5),
    }
}

/// Takes the export up where it stands, in pieces of `piece` bytes, until `budget` bytes and files came; says whether that was all.
fn receive(writing: &mut Writing, piece: usize, mut budget: usize) -> Result<bool, Error> {
    let position = writing.position();
    let mut is_there = position.is_none();
    for (name, bytes) in files() {
        let from = match &position {
            Some((newest, length)) if newest == name => {
                is_there = true;
                usize::try_from(*length).unwrap_or(usize::MAX)
            }
            _ => 0,
        };
        if !is_there {
            continue;
        }
        if position.as_ref().is_none_or(|(newest, _)| newest != name) {
            writing.begin(name)?;
        }
        for bytes in bytes.get(from..).unwrap_or_default().chunks(piece) {
            let Some(left) = budget.checked_sub(bytes.len()) else {
                return Ok(false);
            };
            budget = left;
            writing.write(bytes)?;
        }
        let Some(left) = budget.checked_sub(1) else {
            return Ok(false);
        };
        budget = left;
    }
    Ok(true)
}

/// The same bytes as in one go, whatever broke off in between.
fn whole(path: &Path, breaks: &[(usize, usize)]) -> Result<Finished, Box<dyn StdError>> {
    let place = Place::new(path);
    let mut writing = place.claim()?;
    writing.begin_order(order())?;
    for (piece, budget) in breaks {
        if receive(&mut writing, *piece, *budget)? {
            break;
        }
        drop(writing);
        writing = place.resume()?.ok_or("nothing to go on with")?;
        assert_eq!(writing.order(), Some(&order()));
    }
    assert!(receive(&mut writing, 600, usize::MAX)?);
    Ok(writing.finish(Some(7))?)
}

fn listed(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn check_directory(path: &Path) -> Result<(), Box<dyn StdError>> {
    for (name, bytes) in files() {
        assert_eq!(fs::read(path.join(name))?, bytes, "{name}");
    }
    let expected = ["README.txt", "files", "manifest", "rows.pb", "sizes", "tree"];
    assert_eq!(listed(path)?, expected);
    Ok(())
}

/// Reads an archive as the standard has it.
fn unpacked(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_owned();
    let number = |bytes: &[u8]| u64::from_str_radix(&text(bytes), 8).expect("an octal number");
    let mut found = Vec::new();
    let mut at = 0;
    while archive[at..at + 512] != [0; 512] {
        let header = &archive[at..at + 512];
        let sum: u64 = (header.iter().enumerate())
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        assert_eq!(
            (number(&header[148..154]), &header[156..157], &header[257..265]),
            (sum, &b"0"[..], &b"ustar\x0000"[..])
        );
        let length = usize::try_from(number(&header[124..136])).expect("it is short");
        found.push((text(&header[..100]), archive[at + 512..at + 512 + length].to_vec()));
        at += 512 + length.next_multiple_of(512);
    }
    assert_eq!(archive[at..], [0; 1024]);
    found
}

fn check_archive(path: &Path) -> Result<(), Box<dyn StdError>> {
    let expected: Vec<_> = files().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    assert_eq!(unpacked(&fs::read(path)?), expected);
    assert_eq!(listed(path.parent().ok_or("no parent")?)?, ["case.tar"]);
    Ok(())
}

#[test]
fn an_export_is_written_whole_in_both_forms() -> Result<(), Box<dyn StdError>> {
    let place = tempfile::tempdir()?;
    let finished = whole(&place.path().join("case"), &[])?;
    assert_eq!(finished.manifest["counts"]["rows"], 3);
    let mut hash = Sha256::new();
    hash.update(SIGNED);
    assert_eq!(finished.manifest_sha256, hex(&hash.finish()));
    check_directory(&finished.path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: PathBuf| fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
        assert_eq!(mode(finished.path.clone())?, 0o700);
        assert_eq!(mode(finished.path.join("rows.pb"))?, 0o600);
        assert_eq!(mode(finished.path.join("files"))?, 0o700);
    }
    let place = tempfile::tempdir()?;
    check_archive(&whole(&place.path().join("case.tar"), &[])?.path)
}

#[test]
fn what_is_there_is_not_touched() -> Result<(), Box<dyn StdError>> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("full"))?;
    fs::write(path("full").join("precious"), "precious")?;
    fs::write(path("file"), "precious")?;
    fs::write(path("done.tar"), "precious")?;
    for name in ["full", "file", "done.tar", "no/such"] {
        let place = Place::new(&path(name));
        assert!(place.resume()?.is_none(), "{name}");
        assert!(place.claim().is_err(), "{name}");
    }
    for name in ["full/precious", "file", "done.tar"] {
        assert_eq!(fs::read_to_string(path(name))?, "precious");
    }
    assert_eq!(listed(directory.path())?, ["done.tar", "file", "full"]);
    Ok(())
}

#[test]
fn one_program_writes_at_a_time_and_what_broke_off_is_not_begun_anew() -> Result<(), Box<dyn StdError>> {
    let directory = tempfile::tempdir()?;
    for name in ["case", "case.tar"] {
        let place = Place::new(&directory.path().join(name));
        let mut writing = place.claim()?;
        writing.begin_order(order())?;
        receive(&mut writing, 100, 300)?;
        assert!(place.claim().is_err() && place.resume().is_err(), "{name}");
        drop(writing);
        let refused = place.claim().map(drop);
        assert!(
            refused.is_err_and(|error| error.to_string().contains("an export broke off there")),
            "{name}"
        );
        let writing = place.resume()?.ok_or("nothing to go on with")?;
        writing.discard()?;
    }
    assert_eq!(listed(directory.path())?, [""; 0]);
    Ok(())
}

#[test]
fn a_server_chooses_no_other_files_and_no_other_order() -> Result<(), Box<dyn StdError>> {
    let directory = tempfile::tempdir()?;
    for form in ["case", "case.tar"] {
        let place = Place::new(&directory.path().join(form));
        let mut writing = place.claim()?;
        writing.begin_order(order())?;
        for name in ["../x", "/etc/passwd", ".export.json", "files/x", "x", ""] {
            assert!(writing.begin(name).is_err(), "{name}");
        }
        assert!(writing.write(b"x").is_err());
        writing.begin("keys")?;
        for name in ["README.txt", "checkpoint"] {
            assert!(writing.begin(name).is_err(), "{name}");
        }
        writing.begin(SHARED)?;
        writing.write(b"x")?;
        assert!(writing.begin(SHARED).is_err());
        assert!(writing.begin("tree").is_err());
        // Not signed, or of another export.
        writing.begin("manifest")?;
        writing.write(SIGNED)?;
        drop(writing);
        let writing = place.resume()?.ok_or("nothing to go on with")?;
        assert!(writing.finish(Some(8)).is_err());
        place.resume()?.ok_or("nothing to go on with")?.discard()?;
    }
    assert_eq!(listed(directory.path())?, [""; 0]);
    Ok(())
}

#[cfg(unix)]
#[test]
fn no_link_is_followed() -> Result<(), Box<dyn StdError>> {
    use std::os::unix::fs::symlink;

    let directory = tempfile::tempdir()?;
    let outside = directory.path().join("outside");
    fs::create_dir(&outside)?;
    fs::write(outside.join("precious"), "precious")?;
    let path = directory.path().join("case");
    let mut writing = Place::new(&path).claim()?;
    symlink(outside.join("precious"), path.join("keys"))?;
    symlink(&outside, path.join("files"))?;
    assert!(writing.begin("keys").is_err());
    assert!(writing.begin(SHARED).is_err());
    let tar = directory.path().join("case.tar");
    symlink(outside.join("precious"), directory.path().join("case.tar.part"))?;
    assert!(Place::new(&tar).claim().is_err() && Place::new(&tar).resume().is_err());
    assert_eq!(listed(&outside)?, ["precious"]);
    assert_eq!(fs::read_to_string(outside.join("precious"))?, "precious");
    Ok(())
}

#[test]
fn a_note_that_makes_no_sense_does_no_harm() -> Result<(), Box<dyn StdError>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("case.tar");
    let mut writing = Place::new(&path).claim()?;
    writing.begin_order(order())?;
    receive(&mut writing, 100, 3000)?;
    drop(writing);
    let note = directory.path().join("case.tar.part.json");
    for text in [
        String::new(),
        "{}".repeat(9000),
        format!(r#"{{"order":null,"file":"tree","header_at":{}}}"#, u64::MAX),
        format!(r#"{{"order":null,"file":"tree","header_at":{}}}"#, u64::MAX - 512),
        r#"{"order":null,"file":"tree","header_at":1000000}"#.to_owned(),
        r#"{"order":null,"file":"../tree","header_at":0}"#.to_owned(),
    ] {
        fs::write(&note, &text)?;
        assert!(Place::new(&path).resume().is_err(), "{text}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn breaks_change_nothing(breaks in prop::collection::vec((1_usize..2000, 0_usize..4000), 0..6)) {
        let directory = tempfile::tempdir()?;
        let finished = whole(&directory.path().join("case"), &breaks).expect("it goes on");
        check_directory(&finished.path).expect("it is whole");
        let directory = tempfile::tempdir()?;
        let finished = whole(&directory.path().join("case.tar"), &breaks).expect("it goes on");
        check_archive(&finished.path).expect("it is whole");
    }

    #[test]
    fn an_archive_that_was_cut_anywhere_goes_on_or_is_refused(budget in 0_usize..8000, cut in 0_u64..4000) {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("case.tar");
        let place = Place::new(&path);
        let mut writing = place.claim().expect("it is free");
        writing.begin_order(order()).expect("it can be noted");
        receive(&mut writing, 100, budget).expect("it is taken");
        drop(writing);
        // The machine lost what was written last, and kept the note.
        let part = fs::OpenOptions::new().write(true).open(directory.path().join("case.tar.part"))?;
        let length = part.metadata()?.len().saturating_sub(cut);
        part.set_len(length)?;
        if let Ok(Some(mut writing)) = place.resume() {
            prop_assert!(receive(&mut writing, 600, usize::MAX).expect("it is taken"));
            writing.finish(Some(7)).expect("it is whole");
            check_archive(&path).expect("it is whole");
        }
    }
}
