use super::*;

#[test]
fn show() {
    let folder = sample::folder(&sample::journal(sample::mtty()));
    let run = write_all(folder.path()).unwrap();
    let mut out = Vec::new();
    console::write(&run, std::path::Path::new("reports/out/latest"), 100, &mut out).unwrap();
    std::fs::write("/tmp/reportwork/wide.txt", &out).unwrap();
    let mut out = Vec::new();
    console::write(&run, std::path::Path::new("reports/out/latest"), 80, &mut out).unwrap();
    std::fs::write("/tmp/reportwork/narrow.txt", &out).unwrap();
    std::fs::copy(folder.path().join("junit.xml"), "/tmp/reportwork/junit.xml").unwrap();
    std::fs::copy(folder.path().join("report.json"), "/tmp/reportwork/report.json").unwrap();
}
