import { matmul, maxAbsError, seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { matrix, type Matrix, multiply, transpose } from "./matrix.ts";
import { qr } from "./qr.ts";
import { leadingSvd } from "./leading-svd.ts";
import { jacobiSvd, productSvd, type Svd } from "./svd.ts";

const random = (rows: number, cols: number, seed: number): Matrix =>
  matrix(rows, cols, seededNormals(rows * cols, seed));
const identity = (n: number): Float64Array =>
  Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
const gram = (x: Matrix): Float64Array => multiply(transpose(x), x).data;
const compose = ({ u, s, v }: Svd): Float64Array =>
  multiply({ ...u, data: u.data.map((value, i) => value * s[i % s.length]!) }, transpose(v)).data;

test("a product is the reference's", () => {
  const [x, y] = [random(7, 5, 1), random(5, 3, 2)];
  const expected = matmul(x.data, y.data, { m: 7, n: 3, k: 5 });
  expect(maxAbsError(multiply(x, y).data, expected)).toBeLessThan(1e-14);
});

describe("QR", () => {
  test.each([
    [5, 5],
    [40, 7],
    [1, 1],
  ])("%d × %d: Q·R = X, QᵀQ = 1, R upper triangular", (m, n) => {
    const x = random(m, n, 3);
    const { q, r } = qr(x);
    expect(maxAbsError(multiply(q, r).data, x.data)).toBeLessThan(1e-13);
    expect(maxAbsError(gram(q), identity(n))).toBeLessThan(1e-13);
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) expect(r.data[i * n + j]).toBe(0);
  });
  test("a column of zeros, and a repeated one", () => {
    const x = matrix(4, 3, [1, 0, 1, 2, 0, 2, 3, 0, 3, 4, 0, 4]);
    const { q, r } = qr(x);
    expect(maxAbsError(multiply(q, r).data, x.data)).toBeLessThan(1e-14);
  });
});

describe("SVD", () => {
  test.each([
    [6, 6],
    [30, 5],
    [4, 9],
    [1, 3],
  ])("%d × %d: U·S·Vᵀ = X, both sides orthonormal, values descending", (m, n) => {
    const x = random(m, n, 5);
    const svd = jacobiSvd(x);
    const k = Math.min(m, n);
    expect(maxAbsError(compose(svd), x.data)).toBeLessThan(1e-13);
    expect(maxAbsError(gram(svd.u), identity(k))).toBeLessThan(1e-13);
    expect(maxAbsError(gram(svd.v), identity(k))).toBeLessThan(1e-13);
    expect([...svd.s]).toEqual([...svd.s].sort((a, b) => b - a));
  });
  test("values known in closed form", () => {
    // [[3, 0], [4, 5]] has singular values √45 and √5
    const { s } = jacobiSvd(matrix(2, 2, [3, 0, 4, 5]));
    expect(s[0]).toBeCloseTo(Math.sqrt(45), 13);
    expect(s[1]).toBeCloseTo(Math.sqrt(5), 13);
  });
  test("a matrix of lower rank, and one of zeros", () => {
    const low = multiply(random(12, 2, 6), random(2, 8, 7));
    const svd = jacobiSvd(low);
    expect(maxAbsError(compose(svd), low.data)).toBeLessThan(1e-13);
    expect(Math.max(...svd.s.subarray(2))).toBeLessThan(1e-13);
    expect([...jacobiSvd(matrix(3, 2)).s]).toEqual([0, 0]);
  });
  test.each([
    [9, 3, 7],
    [4, 6, 5],
  ])("of a product [%d, %d]·[…, %d], without forming it", (m, k, n) => {
    const [b, a] = [random(m, k, 8), random(k, n, 9)];
    const direct = jacobiSvd(multiply(b, a));
    const svd = productSvd(b, a);
    expect(maxAbsError(compose(svd), multiply(b, a).data)).toBeLessThan(1e-12);
    expect(maxAbsError(svd.s, direct.s.subarray(0, svd.s.length))).toBeLessThan(1e-12);
  });
});

describe("leading singular values", () => {
  /** the best approximation of that rank, by the whole decomposition */
  const best = (x: Matrix, count: number): Float64Array => {
    const { u, s, v } = jacobiSvd(x);
    return compose({ u, s: s.map((value, i) => (i < count ? value : 0)), v });
  };
  test.each([
    [90, 70, 5],
    [40, 120, 8],
    [12, 12, 12],
    [7, 3, 3],
    [1, 5, 1],
  ])("%d × %d, %d of them: as the whole decomposition has them", (m, n, count) => {
    const x = random(m, n, 11);
    const found = leadingSvd(x, count);
    expect(maxAbsError(found.s, jacobiSvd(x).s.subarray(0, count))).toBeLessThan(1e-9);
    expect(maxAbsError(compose(found), best(x, count))).toBeLessThan(1e-7);
    expect(maxAbsError(gram(found.u), identity(count))).toBeLessThan(1e-9);
    expect(maxAbsError(gram(found.v), identity(count))).toBeLessThan(1e-9);
  });
  test("lower rank than asked for, equal values, zeros", () => {
    const low = multiply(random(30, 2, 6), random(2, 25, 7));
    expect(maxAbsError(compose(leadingSvd(low, 4)), low.data)).toBeLessThan(1e-9);
    const { q } = qr(random(20, 20, 8));
    expect(maxAbsError(leadingSvd(q, 3).s, [1, 1, 1])).toBeLessThan(1e-9);
    expect([...leadingSvd(matrix(6, 4), 2).s]).toEqual([0, 0]);
  });
});
