import { multiply, type Matrix, transpose } from "../linalg/matrix.ts";
import type { PeftAdapter } from "../peft.ts";
import { checkSameShapes, type Update, plainUpdatesOf } from "./modules.ts";

/** How the update of one module differs between two adapters; norms are Frobenius norms of ΔW = s·B·A. */
export interface UpdateDifference {
  readonly path: string;
  /** ‖ΔW‖ in the first and in the second; 0 where an adapter lacks the module */
  readonly norms: readonly [number, number];
  /** ‖ΔW₁ − ΔW₂‖ */
  readonly distance: number;
  /** cosine of the angle between the two, 0 where one is zero */
  readonly cosine: number;
}

/** Compares two adapters module by module, without forming any ΔW. */
export function diffAdapters(first: PeftAdapter, second: PeftAdapter): UpdateDifference[] {
  const [one, two] = [plainUpdatesOf(first), plainUpdatesOf(second)];
  checkSameShapes([one, two]);
  return [...new Set([...one.keys(), ...two.keys()])].map((path) => {
    const [x, y] = [one.get(path), two.get(path)];
    const xx = x ? inner(x, x) : 0;
    const yy = y ? inner(y, y) : 0;
    const xy = x && y ? inner(x, y) : 0;
    return {
      path,
      norms: [Math.sqrt(xx), Math.sqrt(yy)],
      distance: Math.sqrt(Math.max(0, xx + yy - 2 * xy)),
      cosine: xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : 0,
    };
  });
}

/** ⟨s₁B₁A₁, s₂B₂A₂⟩ = s₁s₂ Σ (B₁ᵀB₂) ∘ (A₁A₂ᵀ): r² numbers instead of in × out. */
function inner(x: Update, y: Update): number {
  const left: Matrix = multiply(transpose(x.b), y.b);
  const right: Matrix = multiply(x.a, transpose(y.a));
  return x.scale * y.scale * left.data.reduce((sum, value, i) => sum + value * right.data[i]!, 0);
}
