import CZlib
import Foundation
import Testing

@testable import openfood_api

/// Recorded pages, written here from generated ones.
struct RecordedPagesTests {
    /// A folder with `count` rows in pages of 100, four pages a file.
    private final class Folder {
        let path = NSTemporaryDirectory() + "openfood-api-" + UUID().uuidString
        let generator: ProductGenerator

        init(rows: Int) throws {
            generator = ProductGenerator(seed: 5, rowCount: rows)
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            let pages = try stride(from: 0, to: rows, by: 100).map { try generator.page(offset: $0, length: 100) }
            for (index, start) in stride(from: 0, to: pages.count, by: 4).enumerated() {
                let file = gzopen("\(path)/pages-0000\(index).ndjson.gz", "wb1")
                for page in pages[start..<min(start + 4, pages.count)] {
                    let line = page + [0x0A]
                    gzwrite(file, line, UInt32(line.count))
                }
                gzclose(file)
            }
        }

        deinit {
            try? FileManager.default.removeItem(atPath: path)
        }
    }

    @Test func `pages are cut anew at any offset, byte for byte`() throws {
        let folder = try Folder(rows: 950)
        let pages = try RecordedPages(folder: folder.path)
        #expect(pages.rowCount == 950)
        for (offset, length) in [
            (0, 100), (400, 100), (399, 2), (95, 10), (0, 1), (949, 1), (0, 0), (900, 100), (850, 100), (950, 100),
        ] {
            #expect(
                try pages.page(offset: offset, length: length) == folder.generator.page(offset: offset, length: length),
                "offset \(offset), length \(length)")
        }
    }

    @Test func `no more rows are served than asked for at the start`() throws {
        let folder = try Folder(rows: 300)
        for limit in [0, 1, 99, 100, 101, 300, 1000] {
            let pages = try RecordedPages(folder: folder.path, maxRows: limit)
            #expect(pages.rowCount == min(limit, 300))
            let answer =
                try JSONSerialization.jsonObject(with: Data(pages.page(offset: 0, length: 100))) as? [String: Any]
            #expect((answer?["rows"] as? [Any])?.count == min(limit, 100))
            #expect(answer?["num_rows_total"] as? Int == min(limit, 300))
        }
    }

    @Test func `a file that is damaged or is something else is named`() throws {
        let folder = try Folder(rows: 100)
        try Data("{\"rows\":[{\"row_idx\":5}],\"num_rows_total\":1}\n".utf8)
            .write(to: URL(fileURLWithPath: folder.path + "/pages-00001.ndjson.gz"))
        #expect(throws: (any Error).self) { try RecordedPages(folder: folder.path) }
        #expect(throws: (any Error).self) { try RecordedPages(folder: folder.path + "/none") }
    }
}
