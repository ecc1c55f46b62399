// Micro benchmarks of what a pipeline spends its time in. Each checks its answer.
//
//     swift run -c release bench-micro [part of a name]     nanoseconds a unit, of the thread's processor time
//     valgrind --tool=callgrind … bench-micro --counted     instructions and allocations: Benchmarks/suite/instructions.py
import Glibc

/// One benchmark: what is done for one batch, again and again.
struct MicroCase {
    var name: String
    /// What `units` counts: rows, documents, batches.
    var unit: String
    /// How many units one call of `body` works on.
    var units: Int
    /// Works on one batch; answers a number that depends on all results.
    var body: () throws -> Int
    /// What `body` must answer.
    var expected: Int
    /// Calls that nothing is measured of, nor their answer looked at.
    var warmUp = 4
}

struct WrongAnswer: Error, CustomStringConvertible {
    var description: String
}

/// The only code whose instructions callgrind counts: it collects in here, and writes a file at each return of it.
@inline(never)
func countedRegion(_ body: () -> Void) { body() }

@main
enum Micro {
    /// Calls of `body` that are counted under callgrind.
    private static let countedCalls = 4

    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst()
        let isCounted = arguments.first == "--counted"
        let filter = arguments.last { !$0.hasPrefix("--") }
        // A case is made, measured and dropped before the next one is: memory that it takes moves no other.
        let groups = [
            ColumnarCases.all, JSONCases.all, ExpressionCases.all, WindowCases.all, RuntimeCases.all, PostgresCases.all,
        ]
        for make in groups.flatMap({ $0 }) {
            let entry = try make()
            if let filter, !entry.name.contains(filter) { continue }
            try isCounted ? count(entry) : time(entry)
        }
    }

    private static func run(_ entry: MicroCase, _ calls: Int) throws {
        for _ in 0..<calls {
            let answer = try entry.body()
            guard answer == entry.expected else {
                throw WrongAnswer(description: "\(entry.name): the answer is \(answer), expected \(entry.expected)")
            }
        }
    }

    /// One line a case, in the order of callgrind's files: name, unit, units and calls, with tabs between.
    private static func count(_ entry: MicroCase) throws {
        for _ in 0..<entry.warmUp { _ = try entry.body() }
        var failure: (any Error)?
        countedRegion {
            do { try run(entry, countedCalls) } catch { failure = error }
        }
        if let failure { throw failure }
        print("\(entry.name)\t\(entry.unit)\t\(entry.units * countedCalls)\t\(countedCalls)")
    }

    private static func time(_ entry: MicroCase) throws {
        for _ in 0..<entry.warmUp { _ = try entry.body() }
        var calls = 1
        var best = Double.infinity
        while true {
            let start = threadNanoseconds()
            try run(entry, calls)
            let taken = threadNanoseconds() - start
            guard taken > 5e7 else {
                calls *= 2
                continue
            }
            best = taken
            break
        }
        for _ in 0..<4 {
            let start = threadNanoseconds()
            try run(entry, calls)
            best = min(best, threadNanoseconds() - start)
        }
        let perUnit = (best / Double(calls * entry.units) * 100).rounded() / 100
        let number = String(perUnit)
        print("\(String(repeating: " ", count: max(0, 10 - number.count)))\(number) ns/\(entry.unit)  \(entry.name)")
    }

    /// Processor time: the machine may be busy with other things.
    private static func threadNanoseconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
    }
}
