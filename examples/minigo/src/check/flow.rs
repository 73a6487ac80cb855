//! Whether a list of statements ends in one that never goes on: Go's terminating statements.
#![forbid(unsafe_code)]

use crate::ast::*;

pub(super) fn ends(stmts: &[Stmt]) -> bool {
    stmts.last().is_some_and(|stmt| terminates(stmt, None))
}

fn terminates(stmt: &Stmt, label: Option<&Name>) -> bool {
    match &stmt.kind {
        StmtKind::Return(_) => true,
        StmtKind::Expr(expr) => match &expr.kind {
            ExprKind::Call(call) => {
                matches!(&call.callee.kind, ExprKind::Ident(name) if &**name == "panic")
            }
            _ => false,
        },
        StmtKind::Block(block) => ends(&block.stmts),
        StmtKind::If(inner) => {
            let otherwise = inner.otherwise.as_ref();
            ends(&inner.then.stmts) && otherwise.is_some_and(|stmt| terminates(stmt, None))
        }
        StmtKind::For(inner) => inner.cond.is_none() && !breaks(&inner.body.stmts, label, true),
        StmtKind::Switch(inner) => cases_end(&inner.cases, label),
        StmtKind::TypeSwitch(inner) => cases_end(&inner.cases, label),
        StmtKind::Select(clauses) => clauses.iter().all(|clause| {
            let stmts = &clause.body.stmts;
            ends(stmts) && !breaks(stmts, label, true)
        }),
        StmtKind::Labeled(name, inner) => terminates(inner, Some(name)),
        _ => false,
    }
}

fn cases_end(cases: &[Case], label: Option<&Name>) -> bool {
    let ended = |stmts: &[Stmt]| {
        let falls = matches!(stmts.last().map(|s| &s.kind), Some(StmtKind::Fallthrough));
        (falls || ends(stmts)) && !breaks(stmts, label, true)
    };
    cases.iter().any(|case| case.default) && cases.iter().all(|case| ended(&case.body.stmts))
}

/// Whether a `break` leaves the statement around: without a label, if `own`, or with its label.
fn breaks(stmts: &[Stmt], label: Option<&Name>, own: bool) -> bool {
    stmts.iter().any(|stmt| breaks_in(stmt, label, own))
}

fn breaks_in(stmt: &Stmt, label: Option<&Name>, own: bool) -> bool {
    match &stmt.kind {
        StmtKind::Break(None) => own,
        StmtKind::Break(found) => found.as_ref() == label,
        StmtKind::Block(block) => breaks(&block.stmts, label, own),
        StmtKind::If(inner) => {
            let otherwise = inner.otherwise.iter();
            breaks(&inner.then.stmts, label, own)
                || otherwise
                    .into_iter()
                    .any(|stmt| breaks_in(stmt, label, own))
        }
        StmtKind::Labeled(_, inner) => breaks_in(inner, label, own),
        StmtKind::For(inner) => breaks(&inner.body.stmts, label, false),
        StmtKind::Range(inner) => breaks(&inner.body.stmts, label, false),
        StmtKind::Switch(inner) => inner
            .cases
            .iter()
            .any(|case| breaks(&case.body.stmts, label, false)),
        StmtKind::TypeSwitch(inner) => inner
            .cases
            .iter()
            .any(|case| breaks(&case.body.stmts, label, false)),
        StmtKind::Select(clauses) => clauses
            .iter()
            .any(|clause| breaks(&clause.body.stmts, label, false)),
        _ => false,
    }
}
