import DataflowColumnar
import Testing

@testable import DataflowCodec

private let tags = DataType.list(.structure([Field("name", .string), Field("sizes", .list(.int32))]))

/// Rows of one int64 column and one list of structs with a list in each.
private func assembler() -> RowAssembler {
    RowAssembler([.int64, nil, tags, .bool])
}

extension RowAssembler {
    /// A row with an id, or null, and a tag of `sizes` for each list; nil stores no list.
    fileprivate func add(_ id: Int64?, _ sizes: [[Int32]]?) {
        guard let ids = roots[0], let list = roots[2], let flag = roots[3] else { return }
        let row = append(0)
        if let id { store(id, ids, row) }
        store(UInt8(row % 2), flag, row)
        if let sizes {
            mark(list, row)
            let element = nodes[list].element
            let level = nodes[element].level
            for numbers in sizes {
                let place = append(level)
                mark(element, place)
                let name = nodes[element].members[0]
                let inner = nodes[element].members[1]
                "tag".utf8.withContiguousStorageIfAvailable {
                    store(text: UnsafeRawBufferPointer($0), name, place, inBuffer: 0, offset: 0)
                }
                mark(inner, place)
                for number in numbers {
                    store(number, nodes[inner].element, append(nodes[nodes[inner].element].level))
                }
                endRow(level, place)
            }
        }
        endRow(0, row)
    }

    fileprivate func rows() -> [[Value]] {
        let columns = finish([]).compactMap { $0 }
        return (0..<(columns.first?.count ?? 0)).map { row in columns.map { $0.value(at: row) } }
    }
}

private func tag(_ sizes: Int64...) -> Value { .structure(["tag", .list(sizes.map { .int($0) })]) }

@Suite struct RowAssemblerTests {
    @Test func `what is not stored is null, at every depth`() {
        let assembler = assembler()
        assembler.add(1, [[1, 2], []])
        assembler.add(nil, nil)
        assembler.add(3, [])
        assembler.add(4, [[5]])
        let expected: [[Value]] = [
            [1, .list([tag(1, 2), tag()]), false], [nil, nil, true], [3, .list([]), false], [4, .list([tag(5)]), true],
        ]
        #expect(assembler.rows() == expected)
        assembler.add(9, [[7]])
        #expect(assembler.rows() == [[9, .list([tag(7)]), false]])
    }

    @Test func `a row that is taken back leaves nothing behind`() {
        let assembler = assembler()
        for turn in 0..<1000 {
            assembler.add(Int64(turn), [[1], [Int32(turn), 3]])
            let row = assembler.append(0)
            if let ids = assembler.roots[0], let list = assembler.roots[2] {
                assembler.store(Int64(-1), ids, row)
                assembler.mark(list, row)
                let element = assembler.nodes[list].element
                let level = assembler.nodes[element].level
                let place = assembler.append(level)
                let inner = assembler.nodes[assembler.nodes[element].members[1]].element
                assembler.store(Int32(77), inner, assembler.append(assembler.nodes[inner].level))
                if turn % 2 == 0 { assembler.endRow(level, place) }
            }
            assembler.rollback(0, to: row)
            if turn % 3 == 0 { assembler.add(nil, nil) }
        }
        let rows = assembler.rows()
        #expect(rows.count == 1334)
        #expect(rows.filter { $0[1] == .null }.count == 334)
        for row in rows {
            guard case .int(let turn) = row[0] else { continue }
            #expect(row[1] == .list([tag(1), tag(turn, 3)]))
        }
    }

    @Test func `a value that is cleared is null again with all below it`() {
        let assembler = RowAssembler([.structure([Field("a", .int32), Field("b", .list(.int32))])])
        guard let root = assembler.roots[0] else { return }
        let members = assembler.nodes[root].members
        let element = assembler.nodes[members[1]].element
        for turn in 0..<3 {
            let row = assembler.append(0)
            assembler.mark(root, row)
            assembler.store(Int32(turn), members[0], row)
            assembler.mark(members[1], row)
            assembler.store(Int32(8), element, assembler.append(assembler.nodes[element].level))
            if turn == 1 { assembler.clear(root, row) }
            assembler.endRow(0, row)
        }
        let rows: [[Value]] = [[.structure([0, .list([8])])], [nil], [.structure([2, .list([8])])]]
        #expect(assembler.rows() == rows)
    }

    @Test func `what is marked without a value is zero`() {
        let assembler = RowAssembler([.float64, .string])
        let row = assembler.append(0)
        for root in assembler.roots.compactMap({ $0 }) { assembler.mark(root, row) }
        assembler.endRow(0, row)
        #expect(assembler.rows() == [[0.0, ""]])
    }
}
