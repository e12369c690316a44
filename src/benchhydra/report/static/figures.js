"use strict";
// Figures and dates as texts.

/**
 * Four significant digits, thousands separated, never an exponent: 0.1234, 12.34, 1,234. Whole numbers keep all digits.
 * @param {number | null | undefined} value
 */
function formatNumber(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return value.toLocaleString("en-US");
  const decimals = Math.max(0, Math.min(12, 3 - Math.floor(Math.log10(size))));
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/**
 * A number with its unit: "12.34 ms".
 * @param {number | null | undefined} value
 * @param {string} unit
 */
function formatFigure(value, unit) {
  return value === null || value === undefined ? "–" : `${formatNumber(value)} ${unit}`.trim();
}

/**
 * A relative change: 0.031 is "+3.1 %".
 * @param {number | null | undefined} ratio
 */
function formatPercent(ratio) {
  if (ratio === null || ratio === undefined) return "–";
  return `${ratio < 0 ? "−" : "+"}${Math.abs(ratio * 100).toFixed(1)} %`;
}

/**
 * The day in UTC of a time in Unix seconds.
 * @param {number} seconds
 */
function formatDay(seconds) {
  return isoText(seconds).slice(0, 10);
}

/** @param {number} seconds */
function formatMinute(seconds) {
  return `${isoText(seconds).slice(0, 16)} UTC`;
}

/** @param {number} seconds */
function formatSecond(seconds) {
  return `${isoText(seconds).slice(0, 19)} UTC`;
}

/** @param {number} seconds */
function isoText(seconds) {
  return new Date(seconds * 1000).toISOString().replace("T", " ");
}

/** @param {string} sha */
function shortCommit(sha) {
  return sha.slice(0, 10);
}
