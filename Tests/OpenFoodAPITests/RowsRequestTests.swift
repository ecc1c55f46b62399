import Testing

@testable import openfood_api

/// The parameters of `/rows`, in the words of the real service.
struct RowsRequestTests {
    private static let complete = [
        "dataset": "openfoodfacts/product-database", "config": "default", "split": "food", "offset": "150",
        "length": "2",
    ]

    private func request(_ changes: [String: String?]) throws(RowsError) -> RowsRequest {
        let query = Self.complete.merging(changes.compactMapValues { $0 }) { $1 }
            .filter { changes[$0.key] != .some(nil) }
        return try RowsRequest(query: query.map { (name: $0.key, value: $0.value) })
    }

    @Test func `offset and length are taken, with the real defaults`() throws {
        #expect(try request([:]) == RowsRequest(offset: 150, length: 2))
        #expect(try request(["offset": nil, "length": nil]) == RowsRequest(offset: 0, length: 100))
        #expect(try request(["length": "0"]).length == 0)
    }

    @Test(
        arguments: [
            (["dataset": nil], 422, "MissingRequiredParameter", "Parameter 'dataset' is required"),
            (["config": " "], 422, "MissingRequiredParameter", "Parameter 'config' is required"),
            (["split": ""], 422, "MissingRequiredParameter", "Parameter 'split' is required"),
            (["offset": "x"], 422, "InvalidParameter", "Parameter 'offset' must be integer"),
            (["offset": "-1"], 422, "InvalidParameter", "Parameter 'offset' must be positive"),
            (["length": "1.5"], 422, "InvalidParameter", "Parameter 'length' must be integer"),
            (["length": "101"], 422, "InvalidParameter", "Parameter 'length' must not be greater than 100"),
            (["config": "other"], 404, "ResponseNotFound", "Not found."),
            (["split": "beauty"], 500, "UnexpectedApiError", "Unexpected error."),
        ] as [([String: String?], Int, String, String)])
    func `a wrong parameter is refused with the real code`(
        _ changes: [String: String?], _ status: Int, _ code: String, _ message: String
    ) {
        #expect(throws: RowsError(status: status, code: code, message: message)) { try request(changes) }
    }

    @Test func `a misspelt data set looks like a private one`() {
        #expect { try request(["dataset": "openfoodfacts/products"]) } throws: {
            ($0 as? RowsError)?.status == 401 && ($0 as? RowsError)?.code == "ExternalUnauthenticatedError"
        }
    }
}
