import Foundation

/// Where the programs and the files of the repository are.
package enum Repository {
    package static let root: String = {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { url.deleteLastPathComponent() }
        return url.path
    }()

    /// A program of this package: in DATAFLOW_TEST_PROGRAMS if that is set, else beside the tests.
    package static func program(_ name: String) -> String {
        let folder =
            ProcessInfo.processInfo.environment["DATAFLOW_TEST_PROGRAMS"]
            ?? URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
        return "\(folder)/\(name)"
    }

    /// The folder of recorded pages, if there is one.
    package static let recordedPages: String? = {
        let folder = ProcessInfo.processInfo.environment["DATAFLOW_TEST_PAGES"] ?? root + "/../shared/data/openfood"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.contains { $0.hasPrefix("pages-") && $0.hasSuffix(".ndjson.gz") } ? folder : nil
    }()

    /// Whether the long forms of the tests are asked for.
    package static let isSoak = ProcessInfo.processInfo.environment["DATAFLOW_SOAK"] == "1"
}
