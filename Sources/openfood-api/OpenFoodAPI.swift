import ArgumentParser
import Dispatch
import FlyingFox
import FlyingSocks
import Glibc

/// A stand-in for the `/rows` endpoint of the Hugging Face dataset viewer.
@main
struct OpenFoodAPI: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "openfood-api",
        abstract: "A stand-in for the /rows endpoint of the Hugging Face dataset viewer.",
        discussion: """
            Serves Open Food Facts products on 127.0.0.1, from recorded pages (--pages) or from a seeded generator that \
            follows their published distributions. Prints `listening on http://127.0.0.1:PORT` when it answers, and ends \
            on SIGTERM or SIGINT.

              GET /rows?dataset=openfoodfacts/product-database&config=default&split=food&offset=0&length=100
              GET /stats      what has been asked for, answered and refused, as JSON
            """)

    @Option(help: "The port; 0 takes a free one.")
    var port: UInt16 = 7860

    @Option(
        help: "A folder of recorded pages (pages-*.ndjson.gz, one response body a line). Without it: the generator.")
    var pages: String?

    @Option(help: "How many rows there are (with --pages: at most those recorded; otherwise 3808300).")
    var rows: Int?

    @Option(help: "The seed of the generator and of the faults.")
    var seed: UInt64 = 1

    @Option(
        name: .customLong("fault"),
        help: ArgumentHelp(
            "Misbehave in this share of the requests (0…1); may be repeated.",
            discussion: "Kinds: \(FaultKind.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "kind:rate")
    )
    var faults: [FaultRate] = []

    @Option(help: "Behave after this many faults.")
    var maxFaults: Int?

    @Option(help: "How many seconds a `hang` takes, at most.")
    var hangSeconds: Double = 120

    @Option(help: "How many seconds a `slow` answer takes.")
    var slowSeconds: Double = 3

    @Flag(inversion: .prefixedNo, help: "Compress answers for clients that accept gzip.")
    var gzip = true

    func validate() throws {
        if let rows, rows < 0 || (pages == nil && rows > ProductGenerator.maxRowCount) {
            throw ValidationError("--rows must be between 0 and \(ProductGenerator.maxRowCount), not \(rows).")
        }
        if let maxFaults, maxFaults < 0 {
            throw ValidationError("--max-faults must not be negative.")
        }
        for (option, seconds) in [("--hang-seconds", hangSeconds), ("--slow-seconds", slowSeconds)]
        where !(seconds >= 0 && seconds <= 86_400) {
            throw ValidationError("\(option) must be between 0 and 86400.")
        }
        if faults.reduce(0, { $0 + $1.rate }) > 1 {
            throw ValidationError("The rates of all --fault options add up to more than 1.")
        }
    }

    func run() async throws {
        let source: any RowSource
        if let pages {
            source = try RecordedPages(folder: pages, maxRows: rows ?? .max)
        } else {
            source = ProductGenerator(seed: seed, rowCount: rows ?? ProductGenerator.defaultRowCount)
        }
        let endpoint = RowsEndpoint(
            source: source, faults: FaultPlan(rates: faults, seed: seed, limit: maxFaults ?? .max),
            options: RowsEndpoint.Options(
                compresses: gzip, hang: .seconds(hangSeconds), slow: .seconds(slowSeconds), seed: seed))
        let server = try HTTPServer(
            address: .inet(ip4: "127.0.0.1", port: port), timeout: hangSeconds + 60, logger: .disabled,
            handler: endpoint)

        let stop = StopSignal()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            group.addTask {
                try await server.waitUntilListening()
                if case .ip4(_, port: let port)? = await server.listeningAddress {
                    try write("listening on http://127.0.0.1:\(port)\n", to: STDOUT_FILENO)
                }
                await stop.wait()
                // Nothing is kept, so there is nothing to finish; open connections end with the process.
                if stop.isRaised { Glibc.exit(0) }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}

/// Unbuffered, so that a reader of the pipe has the line at once.
private func write(_ line: String, to descriptor: Int32) throws {
    var rest = Array(line.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else {
            throw ValidationError("cannot write to standard output: \(String(cString: strerror(errno)))")
        }
        rest = rest.dropFirst(count)
    }
}
